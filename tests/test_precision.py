"""Mixed precision: the same losses and likelihoods, float32 where it is needed, and the scaler of 16-mixed.

Stated tolerance, over every model: in bfloat16 a sample's loss and log-likelihood are within 3 % of those in float32,
and their means within 1 %. The scaler runs on the CPU here, as it does on a GPU.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import Tensor, nn

from genmodels.capabilities import HasLikelihood, HasLoss, can
from genmodels.engine import build
from genmodels.engine.train import train
from genmodels.errors import Fault, UserError
from genmodels.evaluators.evaluate import dtype_of
from genmodels.nn.layers.attention import AttentionBlock
from genmodels.seeds import seeded
from tests import test_models_contract as contract
from tests.test_nan_policy import DCGAN, config_of, run
from tests.test_resume import assert_same_run, curve, last, resumed

JUMPS = ("vqvae",)  # a vector between two codes goes to the other one
OF_A_SAMPLE, OF_THE_MEAN = 0.03, 0.01  # relative
LEAST = {"wgan": 1.0}  # to which they are relative at least: a critic's loss is a difference near 0
MLP = ("model=vae_mlp", "model.encoder.widths=[8]", "model.decoder.widths=[8]")
CONVOLUTIONS = ("model=vae", "model.encoder.width=8", "model.decoder.width=8")


def trained(folder: Path, steps: int, overrides: tuple[str, ...], **changes: Any) -> Path:
    train(config_of(folder, overrides, {"trainer.max_steps": steps} | changes))
    return folder


def values(model: nn.Module, data: str, autocast: bool) -> dict[str, Tensor]:
    """What the model gives for each of a few samples, in float32 or in mixed bfloat16."""
    x, condition = contract.batch(data, n=8)
    calls: dict[str, Callable] = {}
    if can(model, HasLikelihood):
        calls["log_prob"] = lambda: {"log_prob": model.log_prob(x)}
    if isinstance(model, HasLoss):
        calls["loss"] = lambda: model.loss(x)
    else:
        calls |= {player.name: partial(player.loss, x, condition) for player in model.players()}
    out = {}
    for name, call in calls.items():
        with seeded(1), torch.autocast("cpu", torch.bfloat16, enabled=autocast, cache_enabled=False):
            out |= {f"{name} {term}": value.detach() for term, value in call().items()}
    return out


@pytest.mark.parametrize("name", [name for name in contract.MODELS if name not in JUMPS])
def test_losses_and_likelihoods_are_those_of_float32(name):
    data = contract.taken(name)[0]
    model = contract.build(name, data)
    with seeded(3), torch.no_grad():
        for p in model.parameters():
            p.add_(0.02 * torch.randn_like(p))
    right = values(model, data, autocast=False)
    for term, value in values(model, data, autocast=True).items():
        assert value.dtype == torch.float32, term
        if term.endswith(("loss", "log_prob")):
            scale = right[term].abs().clamp(min=LEAST.get(name, 0.0))
            assert ((value - right[term]).abs() / scale).max() < OF_A_SAMPLE, term
            assert (value.mean() - right[term].mean()).abs() / scale.mean() < OF_THE_MEAN, term


def test_attention_does_not_overflow_in_float16():
    with seeded(0):
        block, x = AttentionBlock(64, groups=8), torch.randn(1, 64, 2, 2)
    with torch.no_grad():
        block.qkv.weight.mul_(100)  # |q·k| is beyond 65504, |q·k|/8 is not
        with torch.autocast("cpu", torch.float16):
            assert block(x).isfinite().all()


@pytest.mark.parametrize("precision", ["16-mixed", "bf16", "64-true"])
def test_precisions_that_cannot_be_are_refused(precision, tmp_path):
    with pytest.raises(UserError, match="bf16-mixed"):
        build.trainer(config_of(tmp_path, (), {"trainer.precision": precision}), {})


def test_derivatives_of_a_penalty_are_in_float32(tmp_path, monkeypatch):
    """Half precision ends with the forward pass: autocast would reach into the float32 penalty's second derivative."""
    dtypes, backward = [], build.Game._backward

    def spy(self, loss, *args):
        if (head := self.model.discriminator.head.weight).requires_grad:
            head.register_hook(lambda g: dtypes.append(dtype_of(self.model, g.device)))
        backward(self, loss, *args)

    monkeypatch.setattr(build.Game, "_backward", spy)
    penalty = {"model.gradient_penalty": 10, "model.discriminator.normalization": "none"}
    trained(tmp_path, 1, DCGAN, **penalty, **{"trainer.precision": "bf16-mixed"})
    assert set(dtypes) == {"float32"}


class Evaluated(Callback):
    """Keeps what evaluation computes in, where the callbacks of a run evaluate."""

    dtypes: ClassVar[list[str]] = []

    def on_train_batch_end(self, trainer, pl_module, *args) -> None:
        with pl_module.evaluating() as model:
            self.dtypes.append(dtype_of(model, pl_module.device))


def test_evaluation_is_in_float32(tmp_path):
    callback = {"callbacks.evaluated": {"_target_": "tests.test_precision.Evaluated"}}
    trained(tmp_path, 1, MLP, **callback, **{"trainer.precision": "bf16-mixed"})
    assert Evaluated.dtypes == ["float32"]


@pytest.fixture
def half(monkeypatch):
    """Trains in 16-mixed on the CPU once it is called, where Lightning's own flag wants a GPU."""
    make = build.trainer

    def trainer(config, callbacks):
        made = make(config, callbacks)
        made.strategy.precision_plugin = MixedPrecision(
            "16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=256.0)
        )
        return made

    return lambda: monkeypatch.setattr(build, "trainer", trainer)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("model", [DCGAN, MLP])
def test_scaled_training_is_that_of_float32(model, fused, half, tmp_path):
    """Plain descent shows the gradient; of both it is clipped to a length of 0.01, in its own units."""
    descent = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 1.0, "fused": fused}
    changes = {"optimizer": descent, "players": {}, "trainer.gradient_clip_val": 0.01}
    full = last(trained(tmp_path / "full", 1, model, **changes))["state_dict"]
    half()
    scaled = last(trained(tmp_path / "half", 1, model, **changes))["state_dict"]
    config = config_of(tmp_path, model, changes)
    fresh = {f"model.{name}": p for name, p in build.model(config, fresh=True).named_parameters()}
    for player in ["model.generator", "model.discriminator"] if model is DCGAN else ["model"]:
        names = [name for name in fresh if name.startswith(player)]
        a, b = (torch.cat([(state[name] - fresh[name]).flatten() for name in names]) for state in (full, scaled))
        assert a.norm().item() == pytest.approx(0.01, rel=1e-3) == b.norm().item()
        assert (a - b).norm() < 0.02 * a.norm()


@pytest.mark.parametrize("player", ["D", "G"])
def test_an_overflow_is_the_scalers_business(player, half, tmp_path):
    """It skips that player's step alone, lowers the scale, counts, and goes on at a resume as if nothing had been."""
    half()
    whole = last(run(tmp_path / "whole", 4, player, [1], DCGAN))
    assert whole["MixedPrecision"]["scale"] == 128
    assert whole["MixedPrecision"]["_growth_tracker"] == (5 if player == "D" else 4)  # good steps since then
    assert [row["train/skipped_steps"] for row in curve(tmp_path / "whole")] == ["0", "1", "1", "1"]
    moves = [int(next(iter(optimizer["state"].values()))["step"]) for optimizer in whole["optimizer_states"]]
    assert moves == ([4, 3] if player == "D" else [3, 4]) and whole["global_step"] == 4
    assert int(whole["state_dict"]["ema.updates"]) == moves[0]
    run(tmp_path / "cut", 2, player, [1], DCGAN)
    train(resumed(tmp_path / "cut", trainer__max_steps=4))
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    assert last(tmp_path / "cut")["MixedPrecision"] == whole["MixedPrecision"]


def test_a_loss_that_overflows_is_a_fault_in_float16_too(half, tmp_path):
    half()
    with pytest.raises(Fault, match="the loss is not finite at step 2"):
        run(tmp_path, 3, "loss", [1])


@pytest.mark.parametrize("model", [CONVOLUTIONS, DCGAN])
def test_channels_last_is_a_matter_of_memory(model, tmp_path):
    """The same losses within 1e-4 of theirs, and a format that EMA, Adam and a resume keep."""
    trained(tmp_path / "first", 4, model)
    whole = last(trained(tmp_path / "last", 4, model, channels_last=True))
    first, other = (
        [v for row in curve(tmp_path / f) for k, v in row.items() if "loss" in k] for f in ("first", "last")
    )
    assert list(map(float, first)) == pytest.approx(list(map(float, other)), rel=1e-4)
    kept = [value for value in whole["state_dict"].values() if value.ndim == 4]
    kept += [
        v for o in whole["optimizer_states"] for state in o["state"].values() for v in state.values() if v.ndim == 4
    ]
    assert kept and all(value.is_contiguous(memory_format=torch.channels_last) for value in kept)
    trained(tmp_path / "cut", 2, model, channels_last=True)
    train(resumed(tmp_path / "cut", trainer__max_steps=4))
    assert_same_run(tmp_path / "cut", tmp_path / "last")
