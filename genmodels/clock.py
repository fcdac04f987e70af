"""Telling a model where its training is: the parts of it that follow the clock, and the clock of a checkpoint."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from genmodels.capabilities import Clock, FollowsClock


def followers(model: nn.Module) -> list[FollowsClock]:
    """The model and those of its sub-modules that follow the clock, each once."""
    return [part for part in model.modules() if isinstance(part, FollowsClock)]


@torch.no_grad()
def set_clock(model: nn.Module, clock: Clock) -> None:
    """Sets what the clock decides in a model that is to be trained, evaluated or sampled."""
    for part in followers(model):
        part.at(clock)


def clock_of(checkpoint: Mapping[str, Any]) -> Clock:
    """Where the training was that a checkpoint is of; of an export it is not known when it was to end."""
    steps = (checkpoint["config"].get("trainer") or {}).get("max_steps", -1)
    return Clock(checkpoint["global_step"], checkpoint["images_seen"], steps)
