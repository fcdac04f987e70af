"""A run that is cut and resumed is, bit for bit, the run that was not: weights, EMA, optimizers, curve, best score."""

import csv
import signal
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from genmodels.config.resumed import moved
from genmodels.engine.train import train
from genmodels.errors import Stopped
from genmodels.evaluators.evaluate import by_evaluator
from genmodels.training.callbacks import evaluation
from tests.helpers import train_config

STEPS, EVERY = 8, 3  # between checkpoints; an epoch of the digits has 3 steps of 400
FAMILIES = {
    "vae": ["model=vae", "model.encoder.width=8", "model.decoder.width=8", "trainer.precision=bf16-mixed"],
    "dcgan": [
        "model=dcgan",
        "model.generator.width=8",
        "model.discriminator.width=8",
        "model.discriminator_steps=2",
        "trainer.accumulate_grad_batches=2",
        "trainer.gradient_clip_val=1.0",
    ],
    "realnvp": [
        "model=realnvp",
        "model.bijections.realnvp.width=8",
        "model.bijections.realnvp.multipliers=[1,1]",
        "trainer.gradient_clip_val=100.0",
    ],
    "ddpm": ["model=ddpm", "model.network.width=8"],
    "pixelcnn": ["model=pixelcnn", "model.network.width=8", "trainer.accumulate_grad_batches=2"],
    "wgan": ["model=wgan", "model.generator.width=4", "model.discriminator.width=4", "model.discriminator_steps=3"],
    "cyclegan": [
        "model=cyclegan",
        "data=domains",
        "model.to_first.width=4",
        "model.of_first.width=4",
        "model.to_first.blocks=1",
        "model.pool=5",
        "data.batch_size=400",
    ],
    "glow": ["model=glow", "model.bijections.glow.couplings=1", "model.bijections.glow.width=8"],
    "nice": ["model=nice", "model.bijections.nice.widths=[16,16]"],
    "tarflow": [
        "model=tarflow",
        "model.bijections.tarflow.width=16",
        "model.bijections.tarflow.layers=1",
        "model.bijections.tarflow.dropout=0.1",
    ],
    "flowpp": [
        "model=flowpp",
        "model.bijections.flowpp.width=8",
        "model.bijections.flowpp.blocks=1",
        "model.bijections.flowpp.couplings=[1,1,1]",
        "model.space.noise.width=8",
        "model.space.noise.couplings=1",
    ],
    "vqvae": ["model=vqvae", "model.encoder.width=8", "model.decoder.width=8"],
    "transformer": ["model=transformer", "model.network.layers=1", "model.network.width=16", "data.batch_size=100"],
    "wavenet": ["model=wavenet", "model.network.layers=3", "model.network.width=8", "model.network.dropout=0.1"],
    "pixelsnail": ["model=pixelsnail", "model.network.layers=1", "model.network.width=8", "model.network.blocks=1"],
    "cnf": ["model=cnf", "data=toy2d", "data.n_train=2000", "model.network.width=16"],
    "edm": ["model=edm", "model.network.width=8", "model.network.blocks=1"],
    "maf": ["model=maf", "data=toy2d", "data.n_train=1000", "trainer.accumulate_grad_batches=2", "ema=decay"],
    "spline_flow": ["model=spline_flow", "data=toy2d", "data.n_train=1000", "model.bijections.couplings.couplings=1"],
    "made": ["model=made", "model.network.widths=[20]", "model.network.masks=3", "model/network/order=shuffled"],
    "nade": ["model=nade", "model.network.width=8"],
}
SHARED = ["data.batch_size=400", "scheduler=cosine", "scheduler.warmup_steps=2", "trainer.log_every_n_steps=1"]


QUICK = ("vae", "dcgan")  # one loss, and players
CASES = [pytest.param(family, marks=() if family in QUICK else pytest.mark.slow) for family in FAMILIES]
BATCHES = dict.fromkeys(FAMILIES, 1) | {"dcgan": 2, "wgan": 3}  # of the loader, a step


def config_of(family: str, run_dir: Path, *more: str) -> dict:
    length = [f"trainer.max_steps={STEPS}", f"callbacks.checkpoint.every_n_train_steps={EVERY}"]
    return train_config(run_dir, *SHARED, *length, *FAMILIES[family], *more)


def crash(family: str, step: int) -> dict:
    """A fault in the step after `step`."""
    return {"_target_": "tests.helpers.Crash", "after_batches": step * BATCHES[family]}


def signalled(number: int, family: str, step: int) -> dict:
    """A signal in the step after `step`."""
    return {"_target_": "tests.helpers.Signal", "number": int(number), "after_batches": step * BATCHES[family]}


def run_until(cut: dict, config: dict, error: type[BaseException]) -> int:
    """Trains until it is cut, and gives the step of the last checkpoint."""
    with pytest.raises(error):
        train({**config, "callbacks": {**config["callbacks"], "cut": cut}})
    return last(Path(config["run_dir"]))["global_step"]


def resumed(run_dir: Path, **changes: object) -> dict:
    """The config of a resume of this run."""
    config = OmegaConf.load(run_dir / "config.yaml")
    config.callbacks.pop("cut", None)
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    return {**OmegaConf.to_container(config), "resume": str(run_dir)}


def last(run_dir: Path) -> dict:
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)


def curve(run_dir: Path) -> list[dict]:
    with (run_dir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def assert_same(a: object, b: object, path: str = "") -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_same(left, right, f"{path}.{index}")
    else:
        assert a == b, path


def assert_same_run(one: Path, other: Path) -> None:
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "batches", "global_step"):
        assert_same(last(one)[key], last(other)[key], key)
    assert curve(one) == curve(other)


@pytest.mark.parametrize("family", CASES)
def test_resume_is_exact(family, tmp_path, monkeypatch):
    """Through one run after another, each cut in another way."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(config_of(family, whole))
    assert run_until(signalled(signal.SIGTERM, family, 1), config_of(family, cut), Stopped) == 2  # mid-epoch, saved
    with monkeypatch.context() as patch:  # it dies while it writes the checkpoint of step 3
        patch.setattr(torch, "save", half_a_file)
        assert run_until(crash(family, STEPS), resumed(cut), RuntimeError) == 2
    assert run_until(crash(family, 3), resumed(cut), RuntimeError) == 3  # at an epoch's end
    assert run_until(signalled(signal.SIGINT, family, 4), resumed(cut), Stopped) == 5
    (cut / "checkpoints" / ".last.ckpt.0.tmp").write_bytes(b"of one that was killed")
    train(resumed(cut))
    assert_same_run(cut, whole)
    assert sorted(file.name for file in (cut / "checkpoints").iterdir()) == ["last.ckpt"]


def half_a_file(checkpoint: object, file) -> None:
    file.write(b"half of it")
    raise RuntimeError("the machine failed")


@pytest.mark.slow
def test_a_finished_run_goes_on(tmp_path):
    """trainer.max_steps may grow at a resume; with a constant learning rate the result is that of the longer run."""
    for name, steps in (("short", 4), ("long", STEPS)):
        train(config_of("vae", tmp_path / name, "scheduler=constant", f"trainer.max_steps={steps}"))
    train(resumed(tmp_path / "short", trainer__max_steps=STEPS))
    assert_same_run(tmp_path / "short", tmp_path / "long")
    assert OmegaConf.load(tmp_path / "short" / "config.yaml").trainer.max_steps == STEPS


@pytest.mark.slow
def test_evaluations_and_the_best_score_survive(tmp_path, monkeypatch):
    """Cut after an evaluation, between it and its checkpoint, before it, and within it: each is made, and once."""
    evaluated = ["callbacks=default", "evaluator=[likelihood]", "evaluator.likelihood.max_samples=50"]
    evaluated += ["callbacks.evaluation.every_n_steps=2", "~callbacks.pictures", "~callbacks.progress"]
    evaluated += ["callbacks.checkpoint.every_n_train_steps=2"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(config_of("vae", whole, *evaluated))
    assert run_until(crash("vae", 2), config_of("vae", cut, *evaluated), RuntimeError) == 2
    assert best_score(cut) is not None
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half_a_file)
        assert run_until(crash("vae", STEPS), resumed(cut), RuntimeError) == 2
    assert run_until(signalled(signal.SIGTERM, "vae", 3), resumed(cut), Stopped) == 4
    assert curve(cut)[-1]["step"] == "4" and not curve(cut)[-1]["val/bits_per_dim"]
    for evaluations, saved in ((0, 4), (1, 6)):
        with monkeypatch.context() as patch:
            evaluated = iter([by_evaluator] * evaluations + [lambda *_, **__: signal.raise_signal(signal.SIGTERM)])
            patch.setattr(
                evaluation, "by_evaluator", lambda *args, made=evaluated, **kwargs: next(made)(*args, **kwargs)
            )
            assert run_until(crash("vae", STEPS), resumed(cut), Stopped) == saved
    train(resumed(cut))
    assert_same_run(cut, whole)
    assert_same(last(cut)["callbacks"], last(whole)["callbacks"])
    assert all(row["val/bits_per_dim"] for row in curve(cut) if int(row["step"]) % 2 == 0)
    best = torch.load(cut / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == last(whole)["global_step"]


def best_score(run_dir: Path) -> float | None:
    """As the last checkpoint holds it."""
    return last(run_dir)["callbacks"]["BestCheckpoint"]["best"]


def test_a_run_that_moved_goes_on_where_it_is_now(tmp_path):
    train(config_of("vae", tmp_path / "there", "trainer.max_steps=1"))
    here = (tmp_path / "there").rename(tmp_path / "here")
    train(moved(resumed(here, trainer__max_steps=2), here))
    assert last(here)["global_step"] == 2 and len(curve(here)) == 2
    assert not (tmp_path / "there").exists()


@pytest.mark.slow
def test_a_run_without_a_checkpoint_begins_anew(tmp_path):
    with pytest.raises(RuntimeError):
        train({**(config := config_of("vae", tmp_path / "run")), "callbacks": {"cut": crash("vae", 2)}})
    assert not (tmp_path / "run" / "checkpoints").exists() and len(curve(tmp_path / "run")) == 2
    train({**config, "resume": config["run_dir"]})
    assert [int(row["step"]) for row in curve(tmp_path / "run")] == list(range(1, STEPS + 1))
