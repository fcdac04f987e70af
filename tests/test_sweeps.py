"""Sweeps from the command line: finished jobs are known by what they run, killed ones go on, failures stop nothing."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pytorch_lightning import Callback

from genmodels.sweeps.directory import command
from genmodels.sweeps.table import SweepOutput
from genmodels.training.callbacks.pruning import Reports
from tests.synthetic_runs import config, record, write_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
QUICK = ["trainer=cpu", "model=vae", "model.encoder.width=8", "model.decoder.width=8", "logger=csv"]
QUICK += ["~callbacks.pictures", "~callbacks.progress", "evaluator=[likelihood]", "evaluator.likelihood.max_samples=20"]
QUICK += ["trainer.max_steps=4", "callbacks.evaluation.every_n_steps=2", "callbacks.checkpoint.every_n_train_steps=2"]
HERE = "hydra.sweep.dir=sweep"
MEDIAN = "hydra.sweeper.pruner={_target_:optuna.pruners.MedianPruner,n_startup_trials:1}"
RANDOM = ["hydra.sweeper.search=random", "hydra.sweeper.n_trials=2"]


class CrashOnce(Callback):
    """Fails in the first training that comes by, and leaves a file so that it does not again."""

    def __init__(self, *, file: str):
        self.file = Path(file)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if pl_module.batches == 3 and not self.file.exists():
            self.file.touch()
            raise RuntimeError("the machine failed")


def jobs_of(sweep: Path) -> list[str]:
    return sorted(file.parent.name for file in sweep.glob("*/job.json"))


def ends(job: Path) -> list[int]:
    """The exit statuses of all its ends."""
    events = map(json.loads, (job / "history.jsonl").read_text().splitlines())
    return [event["status"] for event in events if event["event"] == "end"]


def starts(job: Path) -> list[int]:
    """The steps at which it was begun."""
    events = map(json.loads, (job / "history.jsonl").read_text().splitlines())
    return [event["step"] for event in events if event["event"] == "start"]


def test_the_command_given_again_runs_what_is_new_or_failed(genmodels, tmp_path, capsys):
    crash = f"+callbacks.crash={{_target_:tests.test_sweeps.CrashOnce,file:{tmp_path}/crashed}}"
    status, err = genmodels("train", "-m", *QUICK, crash, "seed=0,1", HERE)
    sweep = tmp_path / "sweep"
    assert status == 1 and "jobs of sweep failed:\n  0_seed-0: RuntimeError: the machine failed" in err, err
    assert (sweep / "0_seed-0" / "error.txt").exists() and not (sweep / "0_seed-0" / "results.json").exists()
    assert ends(sweep / "1_seed-1") == [0]

    status, err = genmodels("train", "-m", *QUICK, crash, "seed=2,1,0", HERE, "logger=none", "trainer.devices=1")
    assert status == 0, err
    assert jobs_of(sweep) == ["0_seed-0", "1_seed-1", "2_seed-2"]
    assert ends(sweep / "0_seed-0") == [1, 0] and starts(sweep / "0_seed-0") == [0, 2]  # from its checkpoint
    assert ends(sweep / "1_seed-1") == ends(sweep / "2_seed-2") == [0]
    assert not (sweep / "0_seed-0" / "error.txt").exists()

    SweepOutput(sweep, "val/bits_per_dim", "min", "the command").table()
    table = capsys.readouterr().out
    assert "best val/bits_per_dim first" in table and "mean ± standard deviation over seeds" in table
    assert table.count("finished") == 3 and "continue  the command" in table


def test_the_table_of_a_sweep_has_the_best_first_as_its_evaluator_says(genmodels, tmp_path, capsys):
    """An evaluator whose name is in no list of ours, and of which more is better."""
    words = [word for word in QUICK if not word.startswith("evaluator")]
    words += ["evaluator=[]", "+evaluator.mine._target_=tests.test_sweeps_search.Sharpness"]
    status, err = genmodels("train", "-m", *words, "optimizer.lr=0.0001,0.1", HERE)
    assert status == 0, err
    facts = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert (facts["metric"], facts["mode"]) == ("val/sharpness", "max")
    assert Reports.read(tmp_path / "sweep" / "0_lr-0.0001").record["mode"] == "max"
    SweepOutput(tmp_path / "sweep", facts["metric"], facts["mode"], "the command").table()
    table = capsys.readouterr().out
    assert "best val/sharpness first" in table and table.index("lr=0.1") < table.index("lr=0.0001")


def test_the_table_of_a_sweep_compares_no_bound_with_an_exact_likelihood(tmp_path, capsys):
    for number, (bound, value) in enumerate((("elbo", 2.25), ("exact", 1.25), ("elbo", 1.75))):
        write_run(tmp_path / f"{number}_x", config(seed=number), [], job_json='{"overrides": []}')
        measured = record("bits_per_dim", value, split="val", bound=bound, reference="digits/val")
        Reports({200: value}, complete=True, record=measured).write(tmp_path / f"{number}_x")
    SweepOutput(tmp_path, "val/bits_per_dim", "min", "the command").table()
    table = " ".join(capsys.readouterr().out.split())
    assert "best val/bits_per_dim (bound elbo) first" in table and "bound exact" in table
    assert table.index("1.75 │") < table.index("2.25 │") < table.index("1.25 │")


def test_a_plain_multirun_is_one_job(genmodels, tmp_path):
    """And a sweep that has a name keeps its place."""
    assert (
        genmodels("train", "-m", *QUICK, "sweep=seeds", "seed=3", "experiment=digits_vae", "trainer.max_steps=2")[0]
        == 0
    )
    sweep = tmp_path / "outputs" / "sweeps" / "seeds_digits_vae"
    assert jobs_of(sweep) == ["0_digits_vae"] and ends(sweep / "0_digits_vae") == [0]


def test_pruning_ends_a_hopeless_job(genmodels, tmp_path):
    words = ["train", "-m", *QUICK, MEDIAN, "optimizer.lr=0.01,0.00001", HERE]
    for _ in range(2):  # the second time there is nothing left to run
        status, err = genmodels(*words)
        assert status == 0 and not err, err
        assert ends(tmp_path / "sweep" / "0_lr-0.01") == [0]
        job = tmp_path / "sweep" / "1_lr-1e-05"
        assert ends(job) == [0] and not (job / "results.json").exists()
        assert (job / "pruned.txt").read_text().startswith("at step 2 val/bits_per_dim is 3.")
        assert list(json.loads((job / "reports.json").read_text())["values"]) == ["2"]
        assert "MedianPruner" in (job / "config.yaml").read_text()  # which a resume of this job alone may build
    assert genmodels("train", f"resume={job}", "callbacks=checkpoint", "trainer.max_steps=3")[0] == 0


def begin(folder: Path, *words: str) -> subprocess.Popen:
    """A sweep in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "-m", *words]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)


def test_several_jobs_at_once(tmp_path):
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2"]
    words = ["hydra.sweeper.search=tpe", "hydra.sweeper.n_trials=2", "optimizer.lr=interval(0.001,0.002)"]
    assert begin(tmp_path, *QUICK, *launcher, *words, HERE).wait() == 0
    assert [ends(tmp_path / "sweep" / job) for job in jobs_of(tmp_path / "sweep")] == [[0], [0]]


def results(sweep: Path) -> dict[str, list]:
    return {job: json.loads((sweep / job / "results.json").read_text())["results"] for job in jobs_of(sweep)}


def test_a_killed_sweep_goes_on(genmodels, tmp_path):
    """scripts/sweep_kill_test.py is the long form of this."""
    words = [*QUICK, "trainer.max_steps=40", "callbacks.evaluation.every_n_steps=20", "trainer.log_every_n_steps=1"]
    words += ["callbacks.checkpoint.every_n_train_steps=5", "seed=0,1,2"]
    process = begin(tmp_path, *words, "hydra.sweep.dir=cut")
    curve = tmp_path / "cut" / "1_seed-1" / "metrics.csv"
    while process.poll() is None and not (curve.exists() and curve.read_text().count("\n") > 8):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "cut" / "2_seed-2").exists()
    for sweep in ("cut", "whole"):
        assert genmodels("train", "-m", *words, f"hydra.sweep.dir={sweep}")[0] == 0
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    assert [ends(tmp_path / "cut" / job) for job in jobs_of(tmp_path / "cut")] == [[0], [0], [0]]
    assert starts(tmp_path / "cut" / "1_seed-1")[1] >= 5  # from its checkpoint, and not anew


BAD = {
    "no such key": (["optimizer.lrr=1,2"], "there is no key optimizer.lrr (set on the command line); did you mean"),
    "no such key in one job": (
        ["model=vae,dcgan"],
        "did you mean model.generator.width? (in the job model=dcgan)",
    ),
    "a value that cannot be read": (["optimizer.lr=1,}"], "cannot read 'optimizer.lr=1,}'"),
    "no such option": (["model=vae,vaee"], "there is no model=vaee; did you mean vae?"),
    "no such sweep": (["sweep=sedes"], "there is no sweep=sedes; did you mean seeds?"),
    "no such setting": (["hydra.sweeper.serch=grid"], "there is no key hydra.sweeper.serch"),
    "no such search": (
        ["hydra.sweeper.search=gird", "seed=0,1"],
        "search is 'gird', expected one of grid, random, tpe",
    ),
    "no such pruner": (["hydra.sweeper.pruner={_target_:optuna.pruners.Median}"], "not a class that can be imported"),
    "no such setting of a pruner": ([f"{MEDIAN[:-1]},warmup:1}}"], "there is no key pruner.warmup"),
    "a value of another kind": (["seed=0,many"], "seed is 'many', expected an integer"),
    "an empty choice": (["seed=choice()"], "cannot read 'seed=choice()' (empty choice is not legal)"),
    "an empty interval": ([*RANDOM, "optimizer.lr=interval(2,1)"], "optimizer.lr=interval(2,1) is empty"),
    "a logarithm of zero": ([*RANDOM, "optimizer.lr=tag(log,interval(0,1))"], "of positive numbers"),
    "an unknown tag": ([*RANDOM, "optimizer.lr=tag(lin,interval(0,1))"], "expected log, the only tag with a meaning"),
    "nothing to try": (RANDOM, "random search has no keys to vary"),
    "no jobs": ([*RANDOM, "hydra.sweeper.n_trials=0", "seed=0,1"], "n_trials is 0, expected an integer of at least 1"),
    "no number of jobs": (
        ["hydra.sweeper.search=tpe", "seed=0,1"],
        "tpe search needs a number of jobs; set hydra.sweeper.n_trials=N",
    ),
    "a number of jobs of a grid": (["hydra.sweeper.n_trials=3", "seed=0,1"], "a grid tries everything"),
    "an interval in a grid": (["optimizer.lr=interval(0,1)"], "has infinitely many values for a grid"),
    "a metric that is not evaluated": (
        ["seed=0,1", "hydra.sweeper.metric=val/bits_per_dimm"],
        "val/bits_per_dimm is not evaluated while training; did you mean val/bits_per_dim?",
    ),
    "a metric on the test split": (
        ["seed=0,1", "hydra.sweeper.metric=test/nll_nats"],
        "is not evaluated while training",
    ),
    "a mode without a metric": (["seed=0,1", "hydra.sweeper.mode=min"], "set the metric, too"),
    "tpe without evaluation": (
        ["~callbacks.evaluation", "hydra.sweeper.search=tpe", "hydra.sweeper.n_trials=3", "seed=0,1"],
        "tpe search needs a metric, and no job evaluates one",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused_before_any_job_runs(case, genmodels, tmp_path):
    words, sentence = BAD[case]
    status, err = genmodels("train", "-m", *QUICK, *words, HERE)
    assert status == 2 and err.count("\n") == 1 and sentence in err, err
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_in_use(genmodels, tmp_path):
    (tmp_path / "sweep").mkdir()
    with (tmp_path / "sweep" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        status, err = genmodels("train", "-m", *QUICK, "seed=0,1", HERE)
    assert status == 2 and err.count("\n") == 1 and "another process works on the sweep in sweep" in err, err
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == [".lock"]


def test_a_directory_of_something_else(genmodels, tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "config.yaml").touch()
    status, err = genmodels("train", "-m", *QUICK, "seed=0,1", HERE)
    assert status == 2 and err.count("\n") == 1 and "sweep is a run, expected a sweep" in err, err


@pytest.mark.parametrize("name, what", [("sweep.json", "remove it"), ("0_seed-0/job.json", "remove sweep/0_seed-0")])
def test_damaged_files(name, what, genmodels, tmp_path, content='{"number": 1}'):
    file = tmp_path / "sweep" / name
    file.parent.mkdir(parents=True)
    file.write_text(content)
    status, err = genmodels("train", "-m", *QUICK, "seed=0,1", HERE)
    assert status == 2 and err.count("\n") == 1 and f"{name} is damaged; {what}" in err, err
    assert file.read_text() == content and not list(tmp_path.glob("*/*/config.yaml"))


def test_a_search_goes_on_with_what_it_was_begun_with(genmodels, tmp_path):
    words = ["train", "-m", *QUICK, "trainer.max_steps=2", HERE, *RANDOM[:1]]
    assert genmodels(*words, "hydra.sweeper.n_trials=1", "seed=0,1,2")[0] == 0
    before = (tmp_path / "sweep" / "sweep.json").read_text()
    for other, sentence in (
        (["seed=0,1"], "was started with params.seed=0,1,2, and now it is 0,1; set it as before"),
        (["seed=0,1,2", "trainer.max_steps=3"], "was started with trainer.max_steps=2, and now it is 3"),
        (["seed=0,1,2", "hydra.sweeper.seed=1"], "was started with seed=0, and now it is 1"),
    ):
        status, err = genmodels(*words, "hydra.sweeper.n_trials=2", *other)
        assert status == 2 and err.count("\n") == 1 and sentence in err, err
    assert (tmp_path / "sweep" / "sweep.json").read_text() == before
    assert genmodels(*words, "hydra.sweeper.n_trials=9", "seed=0,1,2", "logger=none")[0] == 0
    assert len(jobs_of(tmp_path / "sweep")) == 3  # there are no more


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-m", "seed=0,1", "--config-dir", "c"], "-m hydra.sweep.dir=d seed=0,1 --config-dir c"),
        (["-m", "--config-dir", "c", "seed=0,1"], "-m --config-dir c hydra.sweep.dir=d seed=0,1"),
        (["-m", "sweep=seeds"], "-m sweep=seeds"),
    ],
)
def test_the_command_that_goes_on_keeps_overrides_together(words, told):
    assert command(words, "d") == f"genmodels train {told}"
