"""Several processes train one run: one directory, one curve, results over all; when one dies all end and say so."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback

from genmodels.errors import Fault, Pruned, Stopped, UserError
from genmodels.failures import LOST
from genmodels.processes import workers

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TRAIN = str(ROOT / "scripts" / "train.py")
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_steps=3"]
QUICK = ["trainer.log_every_n_steps=1", "logger=csv", "callbacks=checkpoint", "eval_batch_size=64"]
VAE = ["model=vae", "model.encoder.width=8", "model.decoder.width=8", "evaluator=[likelihood]"]
DCGAN = [
    "model=dcgan",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "model.discriminator_steps=2",
    "trainer.accumulate_grad_batches=2",
    "evaluator=[fid]",
    "evaluator.fid.n=203",
]


class CrashOf(Callback):
    """Raises an error in one process before its third batch, and leaves the moment in a file."""

    def __init__(self, *, rank: int, file: str):
        self.rank, self.file = rank, Path(file)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.global_rank == self.rank and pl_module.batches == 2:
            self.file.write_text(str(time.time()))
            raise RuntimeError("the machine failed")


def run(folder, *words, program=(TRAIN,)):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *program, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def assert_one_run_of_two(run_dir, *, batches_a_step=1):
    with (run_dir / "metrics.csv").open() as file:
        rows = [(int(row["step"]), int(row["images_seen"])) for row in csv.DictReader(file)]
    assert rows == [(step, step * batches_a_step * 128) for step in (1, 2, 3)]
    assert torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 3
    results = json.loads((run_dir / "results.json").read_text())["results"]
    assert results and {record["protocol"]["world_size"] for record in results} == {2}


def test_two_processes_train_one_run(tmp_path):
    done = run(tmp_path, *TWO, *QUICK, *DCGAN, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert_one_run_of_two(tmp_path / "run", batches_a_step=2)


def test_only_rank_zero_shows_progress_and_both_take_the_same_steps(tmp_path):
    watched = ["callbacks=[progress,checkpoint]", "logger=csv", "evaluator=[]", "trainer.max_steps=60"]
    done = run(tmp_path, *TWO, "model=vae_mlp", *watched, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("step 60/60") == 1


def test_a_sweep_of_runs_of_two_processes(tmp_path):
    """The job that fails comes first, and stops nothing."""
    done = run(tmp_path, "-m", *TWO, *QUICK, *VAE, "data.batch_size=97,128", "hydra.sweep.dir=sweep")
    assert done.returncode == 2, done.stderr
    assert_one_run_of_two(tmp_path / "sweep" / "1_batch_size-128")
    assert "jobs of sweep failed:\n  0_batch_size-97: data.batch_size=97 is global and does not divide" in done.stderr
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == [
        ".lock",
        "0_batch_size-97",
        "1_batch_size-128",
        "sweep.json",
    ]


def test_processes_of_torchrun_share_a_directory(tmp_path):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", TRAIN]
    done = run(tmp_path, *TWO, *QUICK, *VAE, program=torchrun)
    assert done.returncode == 0, done.stderr
    (run_dir,) = (tmp_path / "outputs" / "digits_vae").iterdir()
    assert_one_run_of_two(run_dir)


def test_a_crash_of_one_process_ends_the_run(tmp_path):
    crash = f"+callbacks.crash={{_target_:tests.test_many_processes.CrashOf,rank:1,file:{tmp_path}/moment}}"
    every = "callbacks.checkpoint.every_n_train_steps=1"
    done = run(tmp_path, *TWO, *QUICK, *VAE, every, crash, "trainer.max_steps=100000", "hydra.run.dir=run")
    assert time.time() - float((tmp_path / "moment").read_text()) < 15
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("genmodels: rank 1: RuntimeError: the machine failed")
    assert "error_rank1.log" in done.stderr and "CrashOf" not in done.stderr
    assert 'RuntimeError("the machine failed")' in (tmp_path / "run" / "error_rank1.log").read_text()
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2


def test_jobs_in_processes_of_submitit(tmp_path):
    pytest.importorskip("submitit")
    smoke = ["trainer=smoke", "logger=none", "callbacks=none", "model=vae", "evaluator=[]", "hydra.sweep.dir=sweep"]
    done = run(tmp_path, "-m", "hydra/launcher=submitit_local", *smoke, "data.n_test=9999,300")
    assert done.returncode == 2, done.stderr
    assert "  0_n_test-9999: cannot hold out 9999 of 1797 samples" in done.stderr
    assert (tmp_path / "sweep" / "1_n_test-300" / "checkpoints" / "last.ckpt").exists()


def test_a_batch_that_does_not_divide_starts_nothing(genmodels, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    status, err = genmodels("train", *TWO, "data.batch_size=97", "logger=none", "evaluator=[]")
    assert status == 2 and err.count("\n") == 1 and "set a multiple of 2" in err, err
    assert not list(tmp_path.iterdir())


def test_two_players_are_not_sharded(genmodels):
    sharded = ["trainer=fsdp", "trainer.accelerator=cpu", "trainer.devices=2"]
    status, err = genmodels("train", *sharded, "model=dcgan", "logger=none", "evaluator=[]")
    assert status == 2 and err.count("\n") == 1 and "use trainer=ddp" in err, err


LOST_REPORT = {"rank": 0, "sentence": LOST, "status": 1}
ENDS = {
    "an error": ([{"rank": 1, "sentence": "bad", "status": 1}, LOST_REPORT], {0: 1, 1: 1}, [], Fault, "rank 1: bad"),
    "an error that comes second": (
        [LOST_REPORT, {"rank": 1, "sentence": "bad", "status": 1}],
        {0: 1, 1: 1},
        [],
        Fault,
        "rank 1: bad",
    ),
    "killed": ([LOST_REPORT], {0: 1, 1: -signal.SIGKILL}, [], Fault, "rank 1 was killed by SIGKILL"),
    "gone without a word": ([LOST_REPORT], {0: 1, 1: 3}, [], Fault, "rank 1 ended with status 3"),
    "on another machine": ([LOST_REPORT], {0: 1}, [], Fault, f"rank 0: {LOST}"),
    "a person's mistake": ([{"rank": 1, "sentence": "no file", "status": 2}], {0: 2, 1: 2}, [], UserError, "no file"),
    "pruned": ([{"rank": 1, "sentence": "hopeless", "status": 0}], {}, [], Pruned, "hopeless"),
    "asked to end": ([{"rank": 0, "sentence": "saved", "status": 143}], {0: 143}, [signal.SIGTERM], Stopped, "saved"),
    "asked to end at once": (
        [],
        {0: -15, 1: -15},
        [signal.SIGTERM],
        Stopped,
        "ended by a signal; nothing was saved",
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_what_is_said_of_the_end(case):
    reports, lost, asked, kind, sentence = ENDS[case]
    with pytest.raises(kind, match=sentence):
        workers.raise_first(reports, lost, asked)
    workers.raise_first([], {}, asked)
