"""A run that is cut and resumed is, bit for bit, the run that was not: weights, EMA, optimizers, curve, best score."""

import csv
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from genmodels.cli.train import train
from tests.helpers import train_config

STEPS, CUT = 8, 5  # an epoch of the digits has 3 batches of 400: a checkpoint at 4 lies mid-epoch, one at 3 at its end
FAMILIES = {
    "vae": ["model=vae", "model.encoder.width=8", "model.decoder.width=8"],
    "dcgan": [
        "model=dcgan",
        "model.generator.width=8",
        "model.discriminator.width=8",
        "model.discriminator_steps=2",
        "trainer.accumulate_grad_batches=2",
        "trainer.gradient_clip_val=1.0",
    ],
    "realnvp": ["model=realnvp", "model.bijections.realnvp.widths=[8,8]", "trainer.gradient_clip_val=100.0"],
    "ddpm": ["model=ddpm", "model.network.channels=8", "trainer.precision=bf16-mixed"],
    "pixelcnn": ["model=pixelcnn", "model.network.width=8", "trainer.accumulate_grad_batches=2"],
}
SHARED = ["data.batch_size=400", "scheduler=cosine", "scheduler.warmup_steps=2", "trainer.log_every_n_steps=1"]


def config_of(family: str, run_dir: Path, every: int, *more: str) -> dict:
    length = [f"trainer.max_steps={STEPS}", f"callbacks.checkpoint.every_n_train_steps={every}"]
    return train_config(run_dir, *SHARED, *length, *FAMILIES[family], *more)


def resume(run_dir: Path, **changes: object) -> None:
    config = OmegaConf.to_container(OmegaConf.load(run_dir / "config.yaml"))
    config["callbacks"].pop("crash", None)
    for key, value in changes.items():
        OmegaConf.update(cfg := OmegaConf.create(config), key.replace("__", "."), value)
        config = OmegaConf.to_container(cfg)
    train({**config, "resume": str(run_dir)})


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


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    runs: dict[str, Path] = {}

    def run(family: str) -> Path:
        if family not in runs:
            runs[family] = tmp_path_factory.mktemp(family) / "run"
            train(config_of(family, runs[family], every=3))
        return runs[family]

    return run


@pytest.mark.parametrize("every", [3, 4], ids=["epoch-end", "mid-epoch"])
@pytest.mark.parametrize("family", FAMILIES)
def test_resume_is_exact(family, every, tmp_path, uninterrupted):
    critic = 2 if family == "dcgan" else 1
    accumulated = 2 if family == "pixelcnn" else 1
    crash = f"+callbacks.crash={{_target_:tests.helpers.Crash,after_batches:{CUT * critic * accumulated}}}"
    with pytest.raises(RuntimeError, match="the machine failed"):
        train(config_of(family, tmp_path / "run", every, crash))
    assert last(tmp_path / "run")["global_step"] == every
    resume(tmp_path / "run")
    assert_same_run(tmp_path / "run", uninterrupted(family))


def test_a_finished_run_goes_on(tmp_path, uninterrupted):
    """trainer.max_steps may grow at a resume; with a constant learning rate the result is that of the longer run."""
    constant = ["scheduler=constant", "trainer.max_steps"]
    for name, steps in (("short", 4), ("long", STEPS)):
        train(config_of("vae", tmp_path / name, 100, constant[0], f"{constant[1]}={steps}"))
    resume(tmp_path / "short", trainer__max_steps=STEPS)
    assert_same_run(tmp_path / "short", tmp_path / "long")
    assert OmegaConf.load(tmp_path / "short" / "config.yaml").trainer.max_steps == STEPS


def test_the_best_score_survives(tmp_path):
    evaluation = ["callbacks=default", "evaluator=[likelihood]", "evaluator.likelihood.max_samples=50"]
    evaluation += ["callbacks.evaluation.every_n_steps=2", "~callbacks.pictures", "~callbacks.progress"]
    crash = "+callbacks.crash={_target_:tests.helpers.Crash,after_batches:5}"
    train(config_of("vae", tmp_path / "whole", 4, *evaluation))
    with pytest.raises(RuntimeError):
        train(config_of("vae", tmp_path / "cut", 4, *evaluation, crash))
    resume(tmp_path / "cut")
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert_same(last(tmp_path / "cut")["callbacks"], last(tmp_path / "whole")["callbacks"])
    best = torch.load(tmp_path / "cut" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] == last(tmp_path / "whole")["global_step"]
