"""Rotary positions: queries and keys are turned by angles that grow with their position, so that their product depends
on the distance between the two tokens (Su et al. 2021, https://arxiv.org/abs/2104.09864, section 3.2)."""

import torch
from jaxtyping import Float
from torch import Tensor

from genmodels.errors import UserError

Angles = Float[Tensor, "t pairs"]
BASE = 10_000.0


def rotary_angles(tokens: int, width: int) -> Angles:
    """m θ_j for every position m, where θ_j = 10000^(-2j/width); UserError where the width of a head is odd."""
    if width % 2:
        raise UserError(
            f"rotary positions turn pairs of features, and a head of the transformer has {width}; choose "
            "model.network.width and heads so that width / heads is even, or positions=learned"
        )
    theta = BASE ** (-torch.arange(0, width, 2) / width)
    return torch.arange(tokens)[:, None] * theta


def turned(x: Float[Tensor, "b heads t width"], angles: Angles) -> Float[Tensor, "b heads t width"]:
    """Each pair of features (x_j, x_{j + width/2}) turned by its angle."""
    (a, b), cos, sin = x.chunk(2, dim=-1), angles.cos(), angles.sin()
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)
