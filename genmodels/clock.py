"""Sets the clock of a model, that is how far training has come, and reads the clock of a checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from genmodels.capabilities import Clock, FollowsClock


def followers(model: nn.Module) -> list[FollowsClock]:
    """The model and its sub-modules, as far as they follow the clock, each once."""
    return [part for part in model.modules() if isinstance(part, FollowsClock)]


@torch.no_grad()
def set_clock(parts: Sequence[FollowsClock], clock: Clock) -> None:
    """Sets what the clock decides in the `followers` of a model, before it is trained, evaluated or sampled."""
    for part in parts:
        part.at(clock)


def clock_of(checkpoint: Mapping[str, Any]) -> Clock:
    """How far training had come at a checkpoint; an export does not know the total number of steps (-1)."""
    steps = (checkpoint["config"].get("trainer") or {}).get("max_steps", -1)
    return Clock(checkpoint["global_step"], checkpoint["images_seen"], steps)
