"""A run that is killed in an evaluation after its last step has that step, and a resume makes up for what followed."""

import os
import signal
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.spawn import ProcessExitedException

from genmodels.engine.train import train
from genmodels.run.results import read_results
from tests.test_resume import assert_same, assert_same_run, config_of, curve, last, resumed
from tests.test_resume_two_processes import TWO, free_port, one_of

pytestmark = pytest.mark.slow

EVALUATED = [
    "callbacks=default",
    "evaluator=[likelihood]",
    "evaluator.likelihood.max_samples=50",
    "~callbacks.progress",
]
EVALUATED += ["callbacks.evaluation.every_n_steps=3", "callbacks.checkpoint.every_n_train_steps=100"]
EVALUATED += ["callbacks.pictures.n=4", "trainer.max_steps=4", "scheduler=constant"]
IN_TRAINING = "genmodels.training.callbacks.evaluation.by_evaluator"  # the one at the last step
IN_PICTURES = "genmodels.training.callbacks.pictures.ModelPictures"  # those of the last step
ON_TEST = "genmodels.engine.final_evaluation.evaluate_model"


def in_process(rank: int, world: int, config: dict, killed_in: str | None) -> None:
    """Trains as one of several processes, and dies in an evaluation after the last step, if it is to."""
    torch.set_num_threads(1)
    if world > 1:
        os.environ |= one_of(world, rank)
    with pytest.MonkeyPatch.context() as patch:
        if killed_in:
            from genmodels.training.callbacks import evaluation

            spared = 1 if killed_in == IN_TRAINING else 0  # the evaluation at step 3
            made = iter([evaluation.by_evaluator] * spared)
            kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
            patch.setattr(killed_in, lambda *args, **how: next(made, kill)(*args, **how))
        train(config)


def run(config: dict, world: int, monkeypatch, killed_in: str | None = None) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    torch.multiprocessing.start_processes(in_process, (world, config, killed_in), nprocs=world, start_method="spawn")


@pytest.mark.parametrize("killed_in", [IN_TRAINING, IN_PICTURES, ON_TEST])
@pytest.mark.parametrize("world", [1, 2])
def test_a_run_killed_in_its_last_evaluation_is_the_one_that_was_not(world, killed_in, tmp_path, monkeypatch):
    whole, cut, more = tmp_path / "whole", tmp_path / "cut", TWO[:3] if world == 2 else []
    run(config_of("vae", whole, *EVALUATED, *more), world, monkeypatch)
    with pytest.raises(ProcessExitedException):
        run(config_of("vae", cut, *EVALUATED, *more), world, monkeypatch, killed_in)
    assert last(cut)["global_step"] == 4 and not (cut / "results.json").exists()
    assert bool(curve(cut)[-1].get("val/bits_per_dim")) == (killed_in != IN_TRAINING)
    run(resumed(cut), world, monkeypatch)
    assert_same_runs(cut, whole)
    if world == 1:  # and it goes on as that one does
        for each in (cut, whole):
            run(resumed(each, trainer__max_steps=6), world, monkeypatch)
        assert_same_runs(cut, whole)


def assert_same_runs(cut: Path, whole: Path) -> None:
    """Weights, curve, best score, results, pictures."""
    assert_same_run(cut, whole)
    assert_same(last(cut)["callbacks"], last(whole)["callbacks"])
    assert last(cut)["cut_short"] is last(whole)["cut_short"] is False
    assert_same(
        *(torch.load(each / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"] for each in (cut, whole))
    )
    values = [
        [(r["split"], r["metric"], r["value"]) for r in read_results(each / "results.json")] for each in (cut, whole)
    ]
    assert values[0] == values[1]
    pictures = [{file.name: file.read_bytes() for file in (each / "samples").iterdir()} for each in (cut, whole)]
    assert pictures[0] == pictures[1]


def test_a_longer_run_that_is_killed_on_the_test_split_is_not_taken_for_finished(tmp_path, monkeypatch):
    run(config_of("vae", tmp_path / "run", *EVALUATED), 1, monkeypatch)
    longer = resumed(tmp_path / "run", trainer__max_steps=5)
    with pytest.raises(ProcessExitedException):
        run(longer, 1, monkeypatch, ON_TEST)
    run(longer, 1, monkeypatch)
    assert {record["protocol"]["step"] for record in read_results(tmp_path / "run" / "results.json")} >= {5}
