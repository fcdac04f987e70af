"""Averages of a model's weights over training, theta_ema <- d theta_ema + (1 - d) theta after every step.

The rules for the decay d: `Decay`, a constant with a warm-up; `HalfLife` (Karras et al. 2020,
https://arxiv.org/abs/1912.04958, and 2022, https://arxiv.org/abs/2206.00364); `Power` (Karras et al. 2024,
https://arxiv.org/abs/2312.02696).
"""

from abc import ABC, abstractmethod
from collections.abc import Set
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from genmodels.capabilities import Clock
from genmodels.errors import UserError
from genmodels.ranges import PositiveFloat, PositiveInt, ProbabilityBelowOne, RelativeStd
from genmodels.run.post_hoc import gamma_of


class Rule(ABC):
    """How much of the average stays at a step."""

    off: bool = False  # whether to keep no average

    @abstractmethod
    def __call__(self, updates: int, clock: Clock) -> float:
        """d in [0, 1] after `updates` earlier updates; `clock` includes the step just taken."""


class Decay(Rule):
    """d = min(decay, (1 + k)/(10 + k)) at the k-th update.

    The average forgets the initial weights however short the run is (the warm-up of TensorFlow's
    ExponentialMovingAverage).
    """

    def __init__(
        self,
        *,
        decay: ProbabilityBelowOne,  # in [0, 1); 0: no average
    ):
        self.decay = decay
        self.off = decay == 0

    def __call__(self, updates: int, clock: Clock) -> float:
        return min(self.decay, (1 + updates) / (10 + updates))


class HalfLife(Rule):
    """d = 2^(-b/h) with b images a step and a half-life h in images, at most `ramp_up` times those seen before."""

    def __init__(
        self,
        *,
        half_life: PositiveInt,  # images
        ramp_up: PositiveFloat | None,  # null: no bound
    ):
        if half_life <= 0 or (ramp_up is not None and ramp_up <= 0):
            raise UserError(f"ema.half_life={half_life} and ema.ramp_up={ramp_up} must be above 0; null: no ramp-up")
        self.half_life = half_life
        self.ramp_up = ramp_up

    def __call__(self, updates: int, clock: Clock) -> float:
        images = clock.images_seen / clock.step
        half_life: float = self.half_life
        if self.ramp_up is not None:
            half_life = min(half_life, self.ramp_up * (clock.images_seen - images))
        return 0.5 ** (images / half_life) if half_life > 0 else 0.0


class Power(Rule):
    """d = (1 - 1/t)^(gamma + 1) at the t-th update: the weights at time t count as t^gamma."""

    def __init__(
        self,
        *,
        relative_std: RelativeStd,  # of the average's profile, as a part of t
    ):
        self.gamma = gamma_of(relative_std)

    def __call__(self, updates: int, clock: Clock) -> float:
        return (1 - 1 / (updates + 1)) ** (self.gamma + 1)


class EMA(nn.Module):
    """A second model with averaged weights; its state_dict contains only the averaged ones.

    Frozen weights, and the parts that the model names in `unaveraged`, such as discriminators, are not averaged: they
    are the raw model's own weights. Buffers, such as batch norm's running statistics, are copied.
    """

    updates: Tensor  # int64 (), number of updates so far

    def __init__(self, model: nn.Module, *, rule: Rule):
        super().__init__()
        self.raw = raw_names(model)
        shared = {id(p): p for name, p in model.named_parameters() if name in self.raw}
        self.model = deepcopy(model, shared).eval()
        for mine in self._averaged(self.model):
            mine.requires_grad_(False)
        self.rule = rule
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._count = 0  # `updates` as a Python number: reading the buffer would wait for the GPU
        self._pairs: tuple[list[Any], list[Any], list[tuple[nn.Module, nn.Module]]] | None = None
        self._register_state_dict_hook(_leave_out)

    def _averaged(self, model: nn.Module) -> list[Tensor]:
        return [p for name, p in model.named_parameters() if name not in self.raw]

    def pairs(self, model: nn.Module) -> tuple[list[Any], list[Any], list[tuple[nn.Module, nn.Module]]]:
        """Averaged weights, those of `model`, and the parts of both that have buffers, found once: walking a model
        takes long. Weights are never replaced once training has begun; a buffer may be."""
        if self._pairs is None:
            parts = zip(self.model.modules(), model.modules(), strict=True)
            buffered = [(mine, theirs) for mine, theirs in parts if any(True for _ in theirs.buffers(recurse=False))]
            self._pairs = self._averaged(self.model), self._averaged(model), buffered
        return self._pairs

    def train(self, mode: bool = True) -> "EMA":
        """Ignores `mode` and stays in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def update(self, model: nn.Module, clock: Clock) -> None:
        """Moves the average towards the weights of `model` after an optimizer step; `clock` includes that step."""
        d = self.rule(self._count, clock)
        mine, theirs, buffered = self.pairs(model)
        torch._foreach_lerp_(mine, theirs, 1 - d)
        for part, raw in buffered:
            for buffer, newest in zip(part.buffers(recurse=False), raw.buffers(recurse=False), strict=True):
                buffer.copy_(newest)
        self._count += 1
        self.updates.fill_(self._count)

    @torch.no_grad()
    def start_from(self, model: nn.Module) -> None:
        """Copies the weights and buffers of `model`."""
        torch._foreach_copy_(self._averaged(self.model), self._averaged(model))
        self._copy_buffers(model)

    @torch.no_grad()
    def follow(self, model: nn.Module) -> nn.Module:
        """The averaged model, with the present buffers of `model` where they are not averaged."""
        self._copy_buffers(model, self.raw)
        return self.model

    def _copy_buffers(self, model: nn.Module, only: Set[str] | None = None) -> None:
        for (name, mine), theirs in zip(self.model.named_buffers(), model.buffers(), strict=True):
            if only is None or name in only:
                mine.copy_(theirs)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        mine = self.model.state_dict()
        state_dict.update({f"{prefix}model.{name}": mine[name] for name in self.raw & mine.keys()})
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._count = int(self.updates)


def _leave_out(ema: EMA, state_dict: dict[str, Any], prefix: str, _: Any) -> None:
    """Removes tensors that the checkpoint already contains as the raw model's."""
    for name in ema.raw:
        state_dict.pop(f"{prefix}model.{name}", None)


def raw_names(model: nn.Module) -> frozenset[str]:
    """Names of the parameters and buffers that are not averaged: those of frozen parts and of parts in `unaveraged`."""
    parts = [*getattr(model, "unaveraged", ()), *(name for name, part in model.named_modules() if _is_frozen(part))]
    beginnings = tuple(f"{name}." if name else "" for name in parts)
    tensors = [*model.named_parameters(), *model.named_buffers()]
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    return frozenset(frozen | {name for name, _ in tensors if name.startswith(beginnings)})


def _is_frozen(part: nn.Module) -> bool:
    weights = list(part.parameters())
    return bool(weights) and not any(p.requires_grad for p in weights)
