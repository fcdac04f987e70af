"""Schedules, accumulation, the clock, the two players' steps, checkpoints that are whole."""

import csv
import os
import signal
import subprocess
import sys
import time
from math import cos, pi
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from genmodels.data.base import Data
from genmodels.engine import build
from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.models.vae import VAE
from genmodels.run.results import read_results
from genmodels.training.checkpoint import AtomicCheckpointIO, BestCheckpoint
from genmodels.training.module import Training
from genmodels.training.schedules import Constant, Cosine, Linear, LinearHalf, Stages
from tests.helpers import train_config

LINEAR = ["scheduler=linear", "trainer.log_every_n_steps=1"]
GAN = ["model=dcgan", "model.generator.width=4", "model.discriminator.width=4"]


def test_stages_are_those_of_burda_et_al():
    stages = Stages(warmup_steps=0, first_steps=10, stages=3)
    factors = [stages(step) for step in range(200)]
    changes = [step for step in range(1, 200) if factors[step] != factors[step - 1]]
    assert changes == [10, 40]  # 1, then 3 times the first; the last goes on
    assert [factors[0], factors[10], factors[40]] == [1.0, 10 ** (-1 / 7), 10 ** (-2 / 7)]


def test_schedules_are_the_formulae():
    assert [Constant(warmup_steps=4)(step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    cosine = Cosine(warmup_steps=0, total_steps=10, final=0.1)
    assert [cosine(step) for step in (0, 5, 10, 20)] == pytest.approx([1, 0.1 + 0.45 * (1 + cos(pi / 2)), 0.1, 0.1])
    assert Linear(warmup_steps=2, total_steps=4, final=0.0)(1) == pytest.approx(0.75)
    half = LinearHalf(warmup_steps=0, total_steps=8)
    assert [half(step) for step in (0, 4, 6, 8, 9)] == pytest.approx([1, 1, 0.5, 0, 0])


def untrained(config: dict, data: Data) -> Training:
    """The training of a config before its first step."""
    return build.training(config, build.model(config, fresh=True), data, build.trainer(config, {}))


def weights(run_dir: Path) -> dict:
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def rows(run_dir: Path) -> list[dict]:
    with (run_dir / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_accumulated_batches_make_the_gradient_of_one(tmp_path):
    """PixelCNN's loss draws nothing without dropout, and plain SGD shows the gradient."""
    pixelcnn = ["model=pixelcnn", "model.network.width=8", "model.network.dropout=0", "optimizer=sgd"]
    same = [*pixelcnn, "trainer.max_steps=2", "ema.decay=0", "trainer.log_every_n_steps=1", "optimizer.lr=0.001"]
    for name, parts in (("one", 1), ("four", 4)):
        train(train_config(tmp_path / name, *same, f"trainer.accumulate_grad_batches={parts}"))
    one, four = weights(tmp_path / "one"), weights(tmp_path / "four")
    assert max((one[key] - four[key]).abs().max().item() for key in one) < 1e-6
    seen = [[row["images_seen"] for row in rows(tmp_path / name)] for name in ("one", "four")]
    assert seen[0] == seen[1] == ["64", "128"]


def test_a_step_is_a_generators_step(tmp_path):
    config = train_config(
        tmp_path / "run",
        *GAN,
        "model.discriminator_steps=3",
        "trainer.max_steps=4",
        "scheduler=linear",
        "optimizer.lr=0.001",
    )
    config["trainer"]["log_every_n_steps"] = 1
    train(config)
    assert [(row["step"], row["images_seen"]) for row in rows(tmp_path / "run")] == [
        (str(step), str(step * 3 * 64)) for step in (1, 2, 3, 4)
    ]
    assert [float(row["train/lr"]) for row in rows(tmp_path / "run")] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    steps = [int(next(iter(state["state"].values()))["step"]) for state in checkpoint["optimizer_states"]]
    assert steps == [4, 12] and checkpoint["global_step"] == 4
    assert int(checkpoint["state_dict"]["ema.updates"]) == 4


def test_the_players_have_their_own_learning_rates(tmp_path):
    frozen = train_config(tmp_path / "run", *GAN, "trainer.max_steps=2", "players.discriminator.lr=0.0", "ema.decay=0")
    train(frozen)
    data = build.instance(frozen["data"])
    fresh = untrained(frozen, data).state_dict()
    after = weights(tmp_path / "run")
    moved = {key for key in after if "running" not in key and "tracked" not in key and not after[key].equal(fresh[key])}
    assert moved and not any("discriminator" in key for key in moved)


def test_both_players_gradients_are_clipped(tmp_path):
    """With plain SGD of rate 1 a step is as long as the clipped gradient."""
    clip = [
        "trainer.gradient_clip_val=0.001",
        "optimizer=sgd",
        "optimizer.lr=1.0",
        "optimizer.momentum=0.0",
        "ema.decay=0",
    ]
    config = train_config(tmp_path / "run", *GAN, *clip, "trainer.max_steps=1")
    train(config)
    fresh = untrained(config, build.instance(config["data"]))
    before, after = fresh.state_dict(), weights(tmp_path / "run")
    for player in ("generator", "discriminator"):
        names = [name for name, _ in fresh.named_parameters() if name.startswith(f"model.{player}")]
        length = torch.cat([(after[name] - before[name]).flatten() for name in names]).norm().item()
        assert length == pytest.approx(0.001, rel=1e-3)


def test_a_checkpoint_is_whole_or_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)

    def full(*args):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}


@pytest.mark.parametrize("mode, kept", [("min", [3.0, 1.0]), ("max", [3.0, 4.0])])
def test_best_keeps_the_best(tmp_path, monkeypatch, mode, kept):
    saved = []
    best = BestCheckpoint(dirpath=str(tmp_path), monitor="val/x", mode=mode)
    module = SimpleNamespace(evaluated={})
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    monkeypatch.setattr(trainer, "save_checkpoint", lambda path: saved.append(best.best))
    for value in (3.0, 1.0, 2.0, 4.0):
        module.evaluated = {"val/x": value}
        best.on_train_batch_end(trainer, module)
    module.evaluated = {}
    best.on_train_batch_end(trainer, module)
    assert saved == kept
    module.evaluated = {"val/y": 1.0}
    with pytest.raises(UserError, match="choose one of val/y"):
        best.on_train_batch_end(trainer, module)


@pytest.mark.slow
@pytest.mark.parametrize("signal_number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_that_can_go_on(tmp_path, signal_number, status):
    command = [sys.executable, str(Path(__file__).parents[1] / "scripts" / "train.py"), "trainer=cpu", "logger=csv"]
    command += ["trainer.max_steps=1000000", "evaluator=[]", "callbacks=checkpoint", "hydra.run.dir=run"]
    command += ["callbacks.checkpoint.every_n_train_steps=5", "model.encoder.width=8", "model.decoder.width=8"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    began = time.monotonic()
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < began + 120:
        time.sleep(0.1)
    process.send_signal(signal_number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert f"continue with: genmodels train resume={tmp_path}/run" in err and "Traceback" not in err
    assert torch.load(checkpoint, weights_only=True)["global_step"] >= 5


def test_at_the_last_step_samples_are_drawn_once_for_both_splits(tmp_path, monkeypatch):
    drawn = []
    sample = VAE.sample
    monkeypatch.setattr(VAE, "sample", lambda self, n, *args, **how: drawn.append(n) or sample(self, n, *args, **how))
    small = ["trainer=smoke", "model.encoder.width=8", "model.decoder.width=8", "features.steps=2", "features.width=4"]
    measured = [
        "evaluator=[likelihood,fid,nearest_neighbours]",
        "evaluator.fid.n=40",
        "evaluator.nearest_neighbours.n=20",
    ]
    train(train_config(tmp_path / "run", *small, *measured, "features.dim=8", "callbacks=[evaluation]"))
    assert sum(drawn) == 40
    results = {f"{r['split']}/{r['metric']}": r["value"] for r in read_results(tmp_path / "run" / "results.json")}
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    at_val = {key: row[key] for row in rows for key in row if key.startswith("val/") and row[key]}
    assert float(at_val["val/fid_classifier_40"]) == results["test/fid_classifier_40"]
    assert float(at_val["val/bits_per_dim"]) != results["test/bits_per_dim"]
    assert (tmp_path / "run" / "samples" / "nearest_distance.png").is_file()
