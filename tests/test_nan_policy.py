"""A loss or gradient that is not finite: the run stops and says where, or the step leaves no trace but a count."""

import json
from collections.abc import Mapping
from functools import cache, reduce
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.distributed as dist
from pytorch_lightning import Callback
from torch import nn

from genmodels.capabilities import NO_CONDITION, HasLoss
from genmodels.engine.train import train
from genmodels.errors import Fault
from genmodels.models.gan import GAN
from genmodels.training import pace, watch
from tests.helpers import train_config
from tests.test_resume import assert_same, assert_same_run, curve, last, resumed

DCGAN = ("model=dcgan", "model.generator.width=4", "model.discriminator.width=4")
SKIP = {"nan_policy": "skip", "trainer.gradient_clip_val": 1.0}


def sprung(trap: str | None, terms: dict, zero: torch.Tensor) -> dict:
    """The terms with a loss that is nan, or one that is what it was and has a gradient that is nan."""
    if trap is None:
        return terms
    return terms | {"loss": terms["loss"] + (torch.nan if trap == "loss" else (zero * 0).sqrt())}


class Trapped(nn.Module, HasLoss):
    """A small network with batch norm; `trap` says what is to go wrong."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 1))
        self.trap = None

    def loss(self, x, condition=NO_CONDITION):
        out = self.net(x.float() + (torch.nan if self.trap == "statistics" else 0)).square()[:, 0]
        return sprung(self.trap, {"size": out.detach(), "loss": out}, self.net[2].bias.square())


class TrappedGAN(GAN):
    """A GAN one of whose players, `trap`, has a gradient that is nan."""

    trap = None

    def discriminator_loss(self, x, condition=NO_CONDITION):
        terms = super().discriminator_loss(x, condition)
        return sprung("gradient", terms, self.discriminator.head.bias.square()) if self.trap == "D" else terms

    def generator_loss(self, x, condition=NO_CONDITION):
        terms = super().generator_loss(x, condition)
        return sprung("gradient", terms, self.generator.stem.bias[0].square()) if self.trap == "G" else terms


class Trap(Callback):
    """Springs the model's trap at batches of these numbers, counted from 0."""

    before: ClassVar[dict[str, Any]] = {}  # weights and optimizers when the newest one was sprung

    def __init__(self, *, kind: str, at: list[int]):
        self.kind, self.at = kind, at

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        pl_module.model.trap = self.kind if pl_module.batches in self.at else None
        if pl_module.model.trap:
            states = [optimizer.state_dict() for optimizer in trainer.optimizers]
            self.before.update(copied({"state_dict": pl_module.state_dict(), "optimizer_states": states}))


def copied(node: Any) -> Any:
    """A copy of plain containers and tensors."""
    if isinstance(node, Mapping):
        return {key: copied(value) for key, value in node.items()}
    if isinstance(node, list):
        return [copied(value) for value in node]
    return node.clone() if isinstance(node, torch.Tensor) else node


@cache
def composed(overrides: tuple[str, ...]) -> str:
    quick = ["trainer.log_every_n_steps=1", "callbacks=checkpoint", "callbacks.checkpoint.every_n_train_steps=1"]
    return json.dumps(train_config(Path("RUN_DIR"), *quick, *overrides))


def config_of(folder: Path, overrides: tuple[str, ...], changes: Mapping[str, Any]) -> dict:
    """A run's config: composed once for all that have the same overrides, then changed key by key."""
    config = json.loads(composed(overrides).replace("RUN_DIR", str(folder)))
    for key, value in changes.items():
        *path, name = key.split(".")
        reduce(dict.__getitem__, path, config)[name] = value
    return config


def run(folder: Path, steps: int, kind: str, at: list[int], overrides: tuple[str, ...] = (), **changes: Any) -> Path:
    """Trains a model with this trap."""
    trap = {"_target_": "tests.test_nan_policy.Trap", "kind": kind, "at": at}
    config = config_of(folder, overrides, {"trainer.max_steps": steps, "callbacks.trap": trap} | changes)
    mine = "tests.test_nan_policy.TrappedGAN" if overrides else "tests.test_nan_policy.Trapped"
    train({**config, "model": (config["model"] if overrides else {}) | {"_target_": mine}})
    return folder


ACCUMULATED = {"trainer.accumulate_grad_batches": 2}
STOPS = {
    "loss": ((), {}, 2, r"the loss is not finite at step 3 \(loss = nan, size = [\d.]+; learning rate 0.001\)"),
    "gradient": ((), ACCUMULATED, 2, r"gradient in net.2.bias is not finite at step 3 \(loss = [\d.]+, size"),
    "D": (
        DCGAN,
        {"players.discriminator.lr": 0.5},
        2,
        r"gradient in discriminator.head.bias .* step 3 .* rate 0.5\)",
    ),
    "G": (DCGAN, ACCUMULATED, 2, r"gradient in generator.stem.bias is not finite at step 3 \(generator_loss = [\d.]+;"),
}  # what fails, what else is so, at which batch, what is said


@pytest.mark.parametrize("kind", STOPS)
def test_the_first_that_is_not_finite_stops_the_run(kind, tmp_path):
    overrides, changes, batch, sentence = STOPS[kind]
    with pytest.raises(Fault, match=sentence) as fault:
        run(tmp_path, 5, kind, [batch], overrides, **changes)
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    assert str(fault.value).endswith(f"nan_policy=skip; the last good checkpoint is {checkpoint}")
    assert last(tmp_path)["global_step"] == 2


@pytest.mark.parametrize("kind, accumulate", [("loss", 1), ("gradient", 2), ("statistics", 1)])
def test_a_skipped_step_leaves_no_trace(kind, accumulate, tmp_path):
    """The third step: weights, EMA, batch norm's statistics and Adam's state are those after two."""
    run(tmp_path, 3, kind, [2], **SKIP, **{"trainer.accumulate_grad_batches": accumulate})
    after = last(tmp_path)
    assert_same({key: after[key] for key in Trap.before}, Trap.before)
    assert after["global_step"] == 3 and after["watch"]["skipped"] == 1
    assert [row["train/skipped_steps"] for row in curve(tmp_path)] == ["0", "0", "1"]
    assert [row["train/loss"] == "" for row in curve(tmp_path)] == [False, False, True]


@pytest.mark.parametrize("player", ["D", "G"])
def test_only_the_player_that_failed_is_skipped(player, tmp_path):
    after = last(run(tmp_path, 3, player, [2], DCGAN, **SKIP))
    names = [name for name in after["state_dict"] if "running" not in name and "tracked" not in name]
    same = {name for name in names if after["state_dict"][name].equal(Trap.before["state_dict"][name])}
    players = {p: {name for name in names if name.startswith(f"model.{p}")} for p in ("generator", "discriminator")}
    averages = {name for name in names if name.startswith("ema.")}  # follow the generator's steps
    assert same == (players["discriminator"] if player == "D" else players["generator"] | averages)
    number = {"G": 0, "D": 1}[player]
    assert_same(after["optimizer_states"][number]["state"], Trap.before["optimizer_states"][number]["state"])
    assert after["watch"]["skipped"] == 1


def test_a_resumed_run_goes_on_counting(tmp_path):
    run(tmp_path / "whole", 6, "loss", [1, 4], **SKIP)
    run(tmp_path / "cut", 3, "loss", [1, 4], **SKIP)
    train(resumed(tmp_path / "cut", trainer__max_steps=6))
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert last(tmp_path / "cut")["watch"] == last(tmp_path / "whole")["watch"]
    assert [row["train/skipped_steps"] for row in curve(tmp_path / "cut")] == ["0", "1", "1", "1", "2", "2"]


def test_steps_are_not_skipped_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "MOST_IN_A_ROW", 3)
    with pytest.raises(Fault, match="not finite at step 6 and at 2 steps before it"):
        run(tmp_path, 9, "loss", [0, 1, 3, 4, 5], **SKIP)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    exploding = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 1e38, "weight_decay": 1e3}
    with pytest.raises(Fault, match=r"weights are not finite after step 1 in net.* not saved; .*no checkpoint was wri"):
        run(tmp_path, 3, "loss", [], optimizer=exploding)
    assert not (tmp_path / "checkpoints").exists()


class Failing(Trapped):
    """Fails at its third step, of many that are taken at once: by a gradient that is nan, or by one of 1e30."""

    def __init__(self, *, kind: str):
        super().__init__()
        self.kind, self.steps = kind, 0

    def loss(self, x, condition=NO_CONDITION):
        self.steps += 1
        self.trap = "gradient" if self.kind == "gradient" and self.steps == 3 else None
        terms = super().loss(x, condition)
        huge = 1e30 if self.kind == "overflow" and self.steps == 3 else 0.0
        return terms | {"loss": terms["loss"] + huge * (self.net[2].bias - self.net[2].bias.detach())}


FAILS = {
    "gradient": "the loss is not finite at step 4",  # which comes of the weights that step 3 spoilt
    "overflow": "the optimizer's state is not finite after step 10, and the weights were not saved",
}


@pytest.mark.parametrize("kind", FAILS)
def test_a_step_among_many_that_is_not_finite_is_found_before_anything_is_saved(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "MOMENT", 1e9)
    changes = {"trainer.max_steps": 20, "callbacks.checkpoint.every_n_train_steps": 10}
    model = {"_target_": "tests.test_nan_policy.Failing", "kind": kind}
    with pytest.raises(Fault, match=FAILS[kind]):
        train({**config_of(tmp_path, (), changes), "model": model})
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("here, there, together", [(1.0, 1, True), (1.0, 0, False), (torch.inf, 1, False)])
def test_processes_decide_alike(here, there, together, monkeypatch):
    """What is finite here counts as what it is on the process where it is not."""

    def all_reduce(tensor, op):
        assert op == dist.ReduceOp.MIN
        tensor.copy_(torch.minimum(tensor, torch.tensor(there, dtype=tensor.dtype)))  # the other process's

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    assert watch.all_finite([torch.tensor(2.0), torch.tensor(here)]) is together
