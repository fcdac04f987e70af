"""Functions for one step of a sampler, from a level (alpha, sigma) down to the next."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from genmodels.capabilities import Level
from genmodels.seeds import Random


def steps(levels: Sequence[Level]) -> Iterator[tuple[Level, Level]]:
    """Pairs (level, next lower level), from the noisiest down to (1, 0)."""
    return pairwise(levels)


def noise_in(x: Tensor, x0: Tensor, level: Level) -> Tensor:
    """The eps of x = alpha x_0 + sigma eps."""
    return (x - level.alpha * x0) / level.sigma


def fresh_noise(x: Tensor, variance: Tensor, rng: Random) -> Tensor:
    """Normal draws of this variance in the shape of `x`; zeros, without a draw, where the variance is 0."""
    if variance == 0:
        return torch.zeros_like(x)
    return variance.sqrt() * rng.normal(x.shape, x.device).to(x.dtype)
