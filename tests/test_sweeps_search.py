"""What a sweep is made of: its space, its jobs and their names, what is proposed, who is pruned, W&B's YAML."""

import json
from pathlib import Path

import optuna
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from genmodels.config.check import check
from genmodels.config.compose import compose_config, resolved
from genmodels.config.schema import Train
from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError
from genmodels.evaluators.base import Evaluator
from genmodels.evaluators.results import Record
from genmodels.sweeps import settings, space
from genmodels.sweeps.composing import Composer, identity
from genmodels.sweeps.directory import begin
from genmodels.sweeps.job_names import directory_name
from genmodels.sweeps.jobs import Job, Register, read_jobs
from genmodels.sweeps.metric import followed
from genmodels.sweeps.plans import Search
from genmodels.sweeps.study import Study
from genmodels.sweeps.table import SweepOutput
from genmodels.training.callbacks.pruning import Pruning, Reports
from tests.helpers import train_config

pytestmark = pytest.mark.slow

SPACE = space.read_space(
    {"optimizer.lr": "tag(log,interval(1e-5,1e-1))", "model.width": "choice(8,16)"}, ["seed=3"], None
)


def test_the_grammar_of_a_space():
    params = {"a": "1,2", "b.c": "range(0,3)", "d": 5, "e": None, "f": "1,2,3"}
    found = space.read_space(params, ["+g='x y',null", "f=7", "data=digits"], None)
    assert [(one.key, one.values) for one in found.dimensions] == [
        ("a", ("1", "2")),
        ("b.c", ("0", "1", "2")),
        ("+g", ("'x y'", "null")),
    ]
    assert found.fixed == ("d=5", "e=null", "f=7", "data=digits")
    assert len(found.grid()) == 12 and found.grid()[1] == {"a": "1", "b.c": "0", "+g": "null"}
    (whole,) = space.read_space({}, ["k=int(interval(1,9))"], None).dimensions
    assert (whole.low, whole.high, whole.whole, whole.log) == (1, 9, True, False)
    with pytest.raises(UserError, match="write the key in full, optimizer.lr"):
        space.read_space({"optimizer": {"lr": "1,2"}}, [], None)


@pytest.mark.parametrize(
    "overrides, name",
    [
        (["optimizer.lr=0.00012345678", "seed=1"], "7_lr-0.0001235_seed-1"),
        (["model=vae", "seed=0"], "7_vae_seed-0"),
        (["model.encoder.width=8", "model.decoder.width=16"], "7_encoder.width-8_decoder.width-16"),
        (["+model.name='../../x y'"], "7_name-..-..-x-y"),
        (["optimizer.betas=[0.5,0.9]"], "7_betas-0.5-0.9"),
        ([], "7_digits_vae"),
        ([f"name={'x' * 300}"], f"7_name-{'x' * 75}"),
    ],
)
def test_the_name_of_a_directory(overrides, name):
    assert directory_name(7, overrides, "digits_vae") == name
    parsed = OverridesParser.create().parse_override(f"resume=outputs/{name}")
    assert parsed.value() == f"outputs/{name}"  # can be given on a command line as it is


def test_the_identity_of_a_job(tmp_path):
    def of(*words: str, swept: tuple[str, ...] = ()) -> str:
        config = train_config(tmp_path, *words)
        return identity({**config, "run_dir": "."} | {"callbacks": {}}, swept)

    same = [of(), of("logger=none"), of("trainer.devices=2")]
    assert len(set(same)) == 1
    others = [of("seed=1"), of("trainer.max_steps=5"), of("optimizer.lr=0.5"), of("trainer.precision=bf16-mixed")]
    others += [of("trainer.devices=2", swept=("trainer.devices",)), of("model.latent_dim=3")]
    assert len({*others, *same}) == len(others) + 1


class Composes(Composer):
    """What a job is told is its config."""

    def __init__(self):
        pass

    def config_of(self, fixed, swept=()):
        return {"model": [*fixed, *swept]}


def finish(job: Job) -> None:
    """Leaves what a job leaves: the metric is a function of its overrides; every third one is pruned."""
    rate, width = (word.partition("=")[2] for word in job.overrides)
    value = (float(rate) - 0.01) ** 2 + float(width) / 1e6
    pruned = job.number % 3 == 2
    Reports({5: value + 1} | ({} if pruned else {10: value}), complete=not pruned).write(job.directory)
    (job.directory / ("pruned.txt" if pruned else "results.json")).write_text("{}")
    end = {"event": "end", "time": "2026-01-01T00:00:00+00:00", "step": 10, "status": 0}
    (job.directory / "history.jsonl").write_text(json.dumps(end) + "\n")


def new_study(kind: str) -> Study:
    return Study(SPACE, search=kind, mode="min", seed=0, n_jobs=1)


def search(folder: Path, kind: str, n: int, stop_at: int = 10**9) -> list[tuple[str, ...]]:
    """One process of a search; the one that is killed leaves job number `stop_at` begun and not finished."""
    folder.mkdir(exist_ok=True)
    register = Register(folder, "name")
    study = new_study(kind)
    plan = Search(study, SPACE, Composes(), register, n)
    for (job,) in plan.batches(1):
        job.write()
        if job.number == stop_at:
            break
        finish(job)
        plan.tell(job)
    return [job.overrides for job in sorted(register.jobs.values(), key=lambda job: job.number)]


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_a_killed_search_goes_on_with_the_same_proposals(kind, tmp_path):
    whole = search(tmp_path / "whole", kind, 16)
    cut = tmp_path / "cut"
    search(cut, kind, 16, stop_at=3)
    search(cut, kind, 16, stop_at=12)
    assert search(cut, kind, 16) == whole
    assert len(list(cut.iterdir())) == 16  # the jobs' directories, and no other storage
    study = new_study(kind)
    study.remember(read_jobs(cut))
    states = [trial.state.name for trial in study.study.trials]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED"] * 5 + ["COMPLETE"]


def test_tpe_learns_from_the_jobs_that_have_finished(tmp_path):
    rates = [float(words[0].partition("=")[2]) for words in search(tmp_path / "tpe", "tpe", 30)]
    random = [float(words[0].partition("=")[2]) for words in search(tmp_path / "random", "random", 30)]
    assert sum(0.003 < rate < 0.03 for rate in rates[15:]) > 1.5 * sum(0.003 < rate < 0.03 for rate in random[15:])


def reported(folder: Path, number: int, values: dict[int, float]) -> None:
    Reports(values, complete=True).write(folder / f"{number}_x")


def pruning(folder: Path, number: int, pruner, mode="min") -> Pruning:
    return Pruning(dirpath=str(folder / f"{number}_x"), metric="val/m", mode=mode, pruner=pruner)


def test_a_pruner_lays_a_job_beside_the_others(tmp_path):
    for number, value in enumerate((1.0, 2.0, 3.0)):
        reported(tmp_path, number, {10: value, 20: value})
    judge = optuna.pruners.MedianPruner(n_startup_trials=3)
    assert not pruning(tmp_path, 3, judge).report(10, 1.5, complete=False)
    assert pruning(tmp_path, 4, judge).report(10, 2.5, complete=False)
    assert not pruning(tmp_path, 5, judge, mode="max").report(10, 2.5, complete=False)
    assert not pruning(tmp_path, 6, judge).report(20, 2.5, complete=True)  # it is at its end: its results count
    assert pruning(tmp_path, 7, judge).report(10, float("nan"), complete=False)
    assert not pruning(tmp_path, 8, None).report(10, 9.0, complete=False)


def test_a_step_that_is_reported_again_changes_nothing(tmp_path):
    judge = pruning(tmp_path, 0, optuna.pruners.SuccessiveHalvingPruner(min_resource=10))
    for step in (10, 20, 10, 20):
        judge.report(step, 1.0 / step, complete=False)
    assert Reports.read(tmp_path / "0_x").values == {10: 0.1, 20: 0.05}


def test_successive_halving_remembers_its_rungs(tmp_path):
    halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=10, reduction_factor=2)
    ends = [
        pruning(tmp_path, number, halving).report(10, value, complete=False)
        for number, value in enumerate((1, 2, 3, 0))
    ]
    assert ends == [False, True, True, False]
    assert Reports.read(tmp_path / "0_x").kept == {"completed_rung_0": 1}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"values": 1, "complete": true, "kept": {}}'])
def test_reports_that_cannot_be_believed(content, tmp_path):
    (tmp_path / "reports.json").write_text(content)
    assert Reports.read(tmp_path) == Reports()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[" * 10_000, '{"number": 1}', '{"number": "1", "identity": "", "overrides": []}']
)
def test_damaged_files_are_named(content, tmp_path):
    for name, read in (("job.json", lambda: read_jobs(tmp_path)), ("sweep.json", lambda: begin(tmp_path / "0_x", {}))):
        file = tmp_path / "0_x" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
        with pytest.raises(UserError, match=f"{name} is damaged; remove"):
            read()


def test_settings_and_file_agree():
    """configs/hydra/sweeper/genmodels.yaml holds the settings, and each of them once."""
    node = yaml.safe_load((CONFIGS / "hydra" / "sweeper" / "genmodels.yaml").read_text())
    assert (
        settings.read_settings({key: value for key, value in node.items() if not key.startswith("_")}).search == "grid"
    )


def test_the_time_left(tmp_path, capsys):
    said = SweepOutput(tmp_path, None, None, "the command")
    job = Job(4, "", ("model.beta=2", "seed=1"), tmp_path)
    said.launches([job], 2, 12)
    said.seconds = [60.0, 120.0]
    said.launches([job], 4, 12)
    assert capsys.readouterr().out.splitlines() == [
        "job 3 of 12: model.beta=2 seed=1",
        "job 5 of 12: model.beta=2 seed=1; about 12 min left",
    ]


WHILE_TRAINING = {"evaluation": {"_target_": "genmodels.training.callbacks.evaluation.Evaluation", "split": "val"}}


class Sharpness(Evaluator):
    """Somebody's own evaluator, whose name is in no list of ours: more is better."""

    mode = "max"

    def needs(self, subject):
        return None

    def metrics(self, subject, features):
        return ["sharpness"]

    def measure(self, subject, how):
        value = sum(float(p.detach().abs().sum()) for p in subject.model.parameters())
        return [Record(metric="sharpness", split=subject.split, value=value, std=None, protocol={})]


class Bluntness(Sharpness):
    """The same name the other way round."""

    mode = "min"


def evaluated_by(folder: Path, *classes: str, metric: str | None = None, mode: str | None = None) -> tuple:
    mine = [{"mine": {"_target_": f"tests.test_sweeps_search.{name}"}} for name in classes]
    configs = [{**train_config(folder), "callbacks": WHILE_TRAINING, "evaluator": evaluator} for evaluator in mine]
    given = {"search": "tpe", "n_trials": 3, "metric": metric, "mode": mode, "pruner": None, "n_jobs": 1, "seed": 0}
    return followed(settings.read_settings({**given, "params": {}}), configs)


def test_the_evaluator_says_which_way_its_metric_is_better(tmp_path):
    assert evaluated_by(tmp_path, "Sharpness") == ("val/sharpness", "max")
    assert evaluated_by(tmp_path, "Bluntness", metric="val/sharpness") == ("val/sharpness", "min")
    assert evaluated_by(tmp_path, "Sharpness", metric="val/sharpness", mode="min") == ("val/sharpness", "min")
    with pytest.raises(UserError, match="low values of val/sharpness are better in some jobs and high ones in others"):
        evaluated_by(tmp_path, "Sharpness", "Bluntness")


def test_what_evaluators_give_beside_their_first_result_has_its_own_mode(tmp_path):
    config = train_config(tmp_path, "evaluator=[likelihood]") | {"callbacks": WHILE_TRAINING}
    chosen = settings.read_settings({**asdict_of_defaults(), "metric": "val/elbo_nats"})
    assert followed(chosen, [config]) == ("val/elbo_nats", "max")
    assert followed(settings.read_settings(asdict_of_defaults()), [config]) == ("val/bits_per_dim", "min")


def asdict_of_defaults() -> dict:
    node = yaml.safe_load((CONFIGS / "hydra" / "sweeper" / "genmodels.yaml").read_text())
    return {key: value for key, value in node.items() if not key.startswith("_")}


def agents_command(sweep: dict, values: dict[str, object]) -> list[str]:
    """The command line that W&B's agent makes of a sweep and the values it was sent."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    command = utils.create_sweep_command(list(sweep["command"]))
    arguments = utils.create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    place = command.index("${args_no_hyphens}")
    return [*command[:place], *arguments["args_no_hyphens"], *command[place + 1 :]]


def first_of(parameters: dict) -> dict[str, object]:
    return {key: one["values"][0] if "values" in one else one["min"] for key, one in parameters.items()}


@pytest.mark.parametrize("name", [file.stem for file in (CONFIGS / "sweep").glob("*.yaml")])
def test_wandbs_agent_trains_what_a_sweep_says(name, genmodels, tmp_path, monkeypatch):
    assert genmodels("wandb-sweep", f"sweep={name}", "data=digits", "out=sweep.yaml") == (0, "")
    sweep = yaml.safe_load((tmp_path / "sweep.yaml").read_text())
    assert sweep["method"] in ("grid", "random", "bayes") and sweep["metric"]["goal"] == "minimize"
    program, command, *words = agents_command(sweep, first_of(sweep["parameters"]))
    assert (program, command) == ("genmodels", "train")
    check(resolved(compose_config("train", [*words, "name=x", "run_dir=x"])), Train)


def test_what_wandb_is_told(genmodels, tmp_path):
    words = ["optimizer.lr=tag(log,interval(1e-4,1e-2))", "model.latent_dim=int(interval(2,9))", "seed=0,1"]
    words += ["trainer.gradient_clip_val=null,1.5", "hydra.sweeper.search=tpe", "hydra.sweeper.n_trials=7"]
    assert genmodels("wandb-sweep", *words, "out=sweep.yaml")[0] == 0
    sweep = yaml.safe_load((tmp_path / "sweep.yaml").read_text())
    assert sweep["method"] == "bayes" and sweep["run_cap"] == 7
    assert sweep["metric"] == {"name": "val/bits_per_dim", "goal": "minimize"}
    assert sweep["parameters"] == {
        "optimizer.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "model.latent_dim": {"distribution": "int_uniform", "min": 2, "max": 9},
        "seed": {"values": [0, 1]},
        "trainer.gradient_clip_val": {"values": ["null", 1.5]},  # None would become the text None
    }
    assert "trainer.gradient_clip_val=null" in agents_command(sweep, {"trainer.gradient_clip_val": "null"})


@pytest.mark.parametrize(
    "words, sentence",
    [
        ([], "the sweep varies no key"),
        (["sweep=typo"], "there is no sweep=typo"),
        (["optimizer.lrr=1,2"], "there is no key optimizer.lrr"),
        (["optimizer.lr=interval(0,1)"], "has infinitely many values for a grid"),
        (["seed=0,1", "hydra.sweeper.metric=val/typo"], "is not evaluated while training"),
        (["seed=0,1", "out="], "out= names no file"),
    ],
)
def test_what_wandb_sweep_refuses(words, sentence, genmodels, tmp_path):
    status, err = genmodels("wandb-sweep", *words)
    assert status == 2 and err.count("\n") == 1 and sentence in err, err
    assert not list(tmp_path.iterdir())
