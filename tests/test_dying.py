"""However a run ends, what it had is kept, and the person is told how to go on: signals, full disks, SLURM."""

import errno
import json
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from pytorch_lightning import Callback

from genmodels.config.compose import compose_config
from genmodels.config.resumed import resumed_config
from genmodels.disk.atomic import replacing
from genmodels.engine.train import train
from genmodels.errors import Stopped, UserError
from genmodels.failures import explain
from genmodels.run.history import history_of
from genmodels.training.slurm import queue_again
from tests.helpers import train_config

pytestmark = pytest.mark.slow

SMALL = ["model.encoder.width=8", "model.decoder.width=8", "trainer.log_every_n_steps=1"]


def config_of(run_dir: Path, *more: str) -> dict:
    return train_config(run_dir, *SMALL, "trainer.max_steps=4", "callbacks.checkpoint.every_n_train_steps=2", *more)


def with_signals(config: dict, *numbers: int) -> dict:
    """Sent in the third step, one after the other."""
    node = {"_target_": "tests.helpers.Signal", "after_batches": 2}
    sent = {f"signal_{i}": {**node, "number": int(number)} for i, number in enumerate(numbers)}
    return {**config, "callbacks": {**config["callbacks"], **sent}}


def step_of(run_dir: Path) -> int:
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


def events(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]


@pytest.fixture
def run_dir(tmp_path, monkeypatch) -> Path:
    """A run that has taken its four steps, in the folder that the command line runs in."""
    train(config_of(tmp_path / "run"))
    return tmp_path / "run"


class FailAtTheEnd(Callback):
    """Fails after the last step, as an evaluation may."""

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:
        if trainer.global_step == trainer.max_steps:
            raise ValueError("cannot be measured")


def test_what_fails_after_the_last_step_leaves_that_step(tmp_path):
    config = config_of(tmp_path / "run", "callbacks.checkpoint.every_n_train_steps=100")
    config["callbacks"]["fail"] = {"_target_": "tests.test_dying.FailAtTheEnd"}
    with pytest.raises(ValueError):
        train(config)
    assert step_of(tmp_path / "run") == 4


# Signals


@pytest.mark.parametrize(
    "numbers, status, step",
    [
        ([signal.SIGTERM], 143, 3),
        ([signal.SIGTERM, signal.SIGTERM], 143, 3),
        ([signal.SIGINT], 130, 3),
        ([signal.SIGINT, signal.SIGINT], 130, 2),  # at once, from where it was saved
    ],
)
def test_a_signal_ends_a_run(tmp_path, numbers, status, step):
    handlers = [signal.getsignal(number) for number in numbers]
    with pytest.raises(Stopped, match=f"; continue with: genmodels train resume={tmp_path}/run$") as stopped:
        train(with_signals(config_of(tmp_path / "run"), *numbers))
    assert explain(stopped.value)[1] == status and step_of(tmp_path / "run") == step
    assert (events(tmp_path / "run")[-1]["event"], events(tmp_path / "run")[-1]["status"]) == ("end", status)
    assert [signal.getsignal(number) for number in numbers] == handlers


def test_a_signal_in_the_test_ends_it_at_once(tmp_path, monkeypatch):
    evaluate = "genmodels.engine.final_evaluation.evaluate_model"
    monkeypatch.setattr(evaluate, lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    config = config_of(tmp_path / "run", "evaluator=[likelihood]", "evaluator.likelihood.max_samples=8")
    with pytest.raises(Stopped):
        train(config)
    monkeypatch.undo()
    assert step_of(tmp_path / "run") == 4 and not (tmp_path / "run" / "results.json").exists()
    train({**config, "resume": config["run_dir"]})
    assert (tmp_path / "run" / "results.json").exists()


# Full disks


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path, code):
    def write(text: bytes, fails: bool) -> None:
        with replacing(tmp_path / "file") as file:
            file.write(text)
            if fails:
                raise OSError(code, os.strerror(code))

    write(b"before", False)
    with pytest.raises(OSError) as failed:
        write(b"after", True)
    assert explain(failed.value)[1] == 1
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"before")]


def test_a_full_disk_ends_a_run_in_one_sentence(genmodels, run_dir):
    """A limit on the size of files stands for it: config and curve are below, a checkpoint is not."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        status, err = genmodels("train", f"resume={run_dir}", "trainer.max_steps=6")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 1 and err == "genmodels: no space is left for the run; what was saved before is intact\n"
    assert step_of(run_dir) == 4
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["last.ckpt"]
    assert genmodels("train", f"resume={run_dir}", "trainer.max_steps=6")[0] == 0 and step_of(run_dir) == 6


# Going on


def test_what_may_change_is_changed_and_recorded(genmodels, run_dir, capsys):
    words = ["trainer.max_steps=6", "trainer=smoke", "logger=none", "evaluator=[likelihood]", "callbacks=none"]
    words += ["evaluator.likelihood.max_samples=8"]
    assert genmodels("train", f"resume={run_dir}", *words) == (0, "")
    config = OmegaConf.load(run_dir / "config.yaml")
    assert (config.trainer.max_steps, config.logger, list(config.evaluator)) == (6, {}, ["likelihood"])
    start, end = events(run_dir)[-2:]
    assert (start["step"], start["world_size"], start["changed"]["trainer.max_steps"]) == (4, 1, [4, 6])
    assert (end["step"], end["status"]) == (6, 0)
    assert events(run_dir)[0]["changed"] == {}


def test_nothing_is_written_until_all_processes_are_there(tmp_path, monkeypatch):
    """Else one that comes late would read the config that is to be and not the one that was."""

    def nobody_comes(self):
        raise RuntimeError("the others are not there")

    monkeypatch.setattr("pytorch_lightning.strategies.Strategy.setup_environment", nobody_comes)
    with pytest.raises(RuntimeError, match="the others are not there"):
        train(config_of(tmp_path / "run"))
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_data_may_move_and_must_not_change(genmodels, tmp_path):
    images = np.random.default_rng(0).integers(256, size=(200, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", images)
    own = ["data=npz", "data.path=mine.npz", "data.shape=[1,8,8]", "data.n_test=20", "data.n_validation=20"]
    quick = ["trainer=smoke", "logger=none", "callbacks=none", "evaluator=[likelihood]", *SMALL[:2]]
    assert genmodels("train", *own, *quick, "data.batch_size=64", "hydra.run.dir=run") == (0, "")
    (tmp_path / "mine.npz").rename(tmp_path / "moved.npz")
    resume = ["train", f"resume={tmp_path / 'run'}", "trainer.max_steps=6"]
    status, err = genmodels(*resume)
    assert status == 2 and f"{tmp_path / 'mine.npz'} is not there" in err
    np.savez(tmp_path / "other.npz", images[::-1])
    status, err = genmodels(*resume, "data.path=other.npz")
    assert status == 2 and "the training data of npz differ from those" in err
    assert "other.npz" not in (tmp_path / "run" / "config.yaml").read_text()
    assert genmodels(*resume, "data.path=moved.npz") == (0, "") and step_of(tmp_path / "run") == 6
    (tmp_path / "moved.npz").rename(tmp_path / "again.npz")
    assert genmodels("evaluate", "run=run", "data.path=again.npz") == (0, "")


def test_an_option_of_trainer_says_where_and_not_how_long(run_dir):
    config = OmegaConf.to_container(OmegaConf.load(run_dir / "config.yaml"))
    resumed_config(["trainer=ddp"], run_dir, config)
    cfg = compose_config("resumed", ["trainer=ddp", "trainer.devices=2"])
    assert (cfg.trainer.strategy, cfg.trainer.devices, cfg.trainer.max_steps) == ("ddp", 2, 4)
    assert OmegaConf.to_container(cfg.model) == config["model"]


@pytest.mark.parametrize(
    "word, sentence",
    [
        ("model=ddpm", "model=ddpm would change what"),
        ("trainer.accumulate_grad_batches=2", "would change what"),
        ("-m", "resume them one after the other"),
        ("logger=tensorbord", "did you mean tensorboard?"),
        ("trainer.max_step=5", "did you mean trainer.max_steps?"),
    ],
)
def test_what_must_not_change_is_refused(genmodels, run_dir, word, sentence):
    before = {file: file.read_bytes() for file in run_dir.rglob("*") if file.is_file()}
    status, err = genmodels("train", f"resume={run_dir}", word)
    assert status == 2 and sentence in err
    assert before == {file: file.read_bytes() for file in run_dir.rglob("*") if file.is_file()}


def test_a_changed_config_is_refused_however_it_comes(run_dir):
    config = config_of(run_dir, "optimizer.lr=0.5")
    with pytest.raises(UserError, match=r"optimizer.lr=0.5 \(it was 0.001\) would change what"):
        train({**config, "resume": str(run_dir)})


def test_a_finished_run_says_so(genmodels, run_dir, capsys):
    train({**config_of(run_dir), "resume": str(run_dir)})
    assert "is finished after 4 steps" in " ".join(capsys.readouterr().out.split())


def test_a_longer_run_is_told_that_its_schedule_has_ended(tmp_path, capsys):
    config = config_of(tmp_path / "run", "scheduler=cosine")
    train(config)
    train({**config, "trainer": {**config["trainer"], "max_steps": 6}, "resume": config["run_dir"]})
    assert (
        "the schedule ends at step 4 (scheduler.total_steps); after it the learning rate is 0"
        in capsys.readouterr().out
    )


def test_two_processes_do_not_train_in_one_directory(genmodels, run_dir):
    with history_of(run_dir, writes=True):
        status, err = genmodels("train", f"resume={run_dir}", "trainer.max_steps=6")
    assert status == 2 and "another process trains in" in err and step_of(run_dir) == 4
    assert genmodels("train", f"resume={run_dir}", "trainer.max_steps=6")[0] == 0


def test_a_line_of_the_history_that_was_cut_off(tmp_path):
    begun = '{"event": "start", "step": 0, "time": "2026-11-20T10:00:00+00:00"}'
    (tmp_path / "history.jsonl").write_text(f'{begun}\n{{"event": "en')
    with history_of(tmp_path, writes=True) as history:
        history.add("start", step=2)
    with history_of(tmp_path, writes=False) as history:
        assert [event["step"] for event in history.events] == [0, 2] and history.last("start")["step"] == 2


def test_a_run_that_is_refused_leaves_no_history(tmp_path):
    with pytest.raises(UserError), history_of(tmp_path / "run", writes=True):
        raise UserError("its data are missing")
    assert not any((tmp_path / "run").iterdir())


# SLURM


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """A job of one process, and a `scontrol` that writes down what it is asked."""
    for name, value in {"JOB_ID": "123", "JOB_NAME": "train", "NTASKS": "1", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    return tmp_path / "asked"


def test_a_job_of_slurm_goes_on_when_it_is_started_again(tmp_path, slurm, monkeypatch):
    config = config_of(tmp_path / "run")
    with pytest.raises(Stopped, match="ended to be queued again") as stopped:
        train(with_signals(config, signal.SIGUSR1))
    assert explain(stopped.value)[1] == 143 and slurm.read_text() == "requeue 123\n" and step_of(tmp_path / "run") == 3
    with pytest.raises(UserError, match="contains a run already"):
        train(config)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    train(config)
    assert step_of(tmp_path / "run") == 4 and events(tmp_path / "run")[-2]["step"] == 3


def test_a_job_array_and_a_scontrol_that_fails(slurm, monkeypatch, capsys):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "5")
    queue_again()
    assert slurm.read_text() == "requeue 7_5\n"
    monkeypatch.setenv("PATH", "")
    queue_again()
    assert "SLURM does not requeue job 7_5" in capsys.readouterr().err
