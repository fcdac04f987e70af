"""The residual network inside a coupling layer (Dinh et al. 2017, https://arxiv.org/abs/1605.08803, section 3.7).

It uses group normalization, where the paper normalizes over the batch, so that a sample's likelihood does not
depend on other samples. The last layer is zero at first, so that the coupling starts as the identity.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import NO_CONTEXT, Context, Sizes, widths
from genmodels.nn.layers.zeroed import zeroed
from genmodels.nn.shapes import Maps


class CouplingBlock(nn.Module):
    """h + conv(silu(norm(conv(silu(norm(h)))))) with 3x3 convolutions."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.GroupNorm(1, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)),
            *(nn.GroupNorm(1, width), nn.SiLU(), nn.Dropout(dropout), nn.Conv2d(width, width, 3, padding=1)),
        )

    def forward(self, h: Maps) -> Maps:
        return h + self.body(h)


class CouplingNet(nn.Module):
    """(b, c, h, w) and a context to (b, 2c, h, w): s before its tanh, and t.

    A context's maps (b, c', h, w) are extra input channels; its vector is added to the hidden features.
    """

    def __init__(
        self,
        *,
        channels: int,  # c
        width: int,  # hidden features
        blocks: int,  # residual blocks
        dropout: float,  # probability that a hidden feature of a block is dropped in training
        context: Sizes,  # a vector, maps; {}: none
    ):
        super().__init__()
        given = widths(context, ("vector", "maps"), "the network of a coupling")
        self.stem = nn.Conv2d(channels + given["maps"], width, 3, padding=1)
        self.vector = nn.Linear(given["vector"], width, bias=False) if given["vector"] else None
        self.blocks = nn.Sequential(*(CouplingBlock(width, dropout) for _ in range(blocks)))
        last = zeroed(nn.Conv2d(width, 2 * channels, 3, padding=1))
        self.head = nn.Sequential(nn.GroupNorm(1, width), nn.SiLU(), last)

    def forward(self, x: Maps, context: Context = NO_CONTEXT) -> Float[Tensor, "b 2*c h w"]:
        h = x if context.maps is None else torch.cat([x, context.maps], dim=1)
        h = self.stem(h)  # (b, width, h, w)
        if self.vector is not None:
            h = h + self.vector(context.vector)[:, :, None, None]
        return self.head(self.blocks(h))
