"""Which of a model's noise levels a sampler visits."""

import torch
from jaxtyping import Float64
from torch import Tensor

from genmodels.errors import UserError
from genmodels.seeds import Random


def descend(sigmas: Float64[Tensor, "t"], steps: int | None) -> list[tuple[Tensor, Tensor]]:
    """Pairs (sigma, next sigma), from the largest level down to a last next sigma of 0.

    The `steps` levels are evenly spaced among the T in `sigmas` (increasing), rounded to whole ones, and
    have the first and the last among them (one step: the last alone); None takes all. UserError where
    there are not that many.
    """
    last = len(sigmas) - 1
    steps = len(sigmas) if steps is None else steps
    if not 1 <= steps <= len(sigmas):
        raise UserError(
            f"got sampler.steps={steps}, expected 1 to the model's {len(sigmas)} steps; change sampler.steps"
        )
    visited = last - torch.arange(steps) * last // max(steps - 1, 1)
    levels = torch.cat([sigmas[visited], sigmas.new_zeros(1)])
    return list(zip(levels[:-1], levels[1:], strict=True))


def fresh_noise(x: Tensor, variance: Tensor, rng: Random) -> Tensor:
    """Normal draws of this variance, shaped as `x`; zero, without a draw, where the variance is."""
    if variance == 0:
        return torch.zeros_like(x)
    return variance.sqrt() * rng.normal(x.shape, x.device)
