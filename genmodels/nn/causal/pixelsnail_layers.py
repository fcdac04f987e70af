"""Layers of PixelSNAIL (Chen et al. 2018, https://arxiv.org/abs/1712.09763, figure 3, and the authors' code): gated
resnets, then attention over all earlier pixels, whose result goes into one more gated resnet."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context
from genmodels.nn.causal.pixelcnnpp_layers import HORIZONTAL, POINT, GatedResnet, Map

Entries = Float[Tensor, "b t _d"]


def places(h: int, w: int) -> Float[Tensor, "1 2 h w"]:
    """The row and the column of each pixel, on [-1/2, 1/2]."""
    rows, columns = (torch.arange(side) / side - 0.5 for side in (h, w))
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]


def attend_to_earlier(queries: Entries, keys: Entries, values: Entries) -> Entries:
    """Attention of each entry to those before it, without itself; 0 for the first, which has none."""
    q, k, v = queries[:, None, 1:], keys[:, None, :-1], values[:, None, :-1]  # one head
    return F.pad(F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0], (0, 0, 1, 0))


class Reading(nn.Module):
    """A gated resnet and a convolution of each pixel by itself: queries, or keys and values."""

    def __init__(self, *, inputs: int, outputs: int, vector: int):
        super().__init__()
        self.resnet = GatedResnet(kernel=POINT, width=inputs, beside=0, vector=vector, dropout=0.0)
        self.out = nn.Conv2d(inputs, outputs, 1)

    def forward(self, parts: list[Map], context: Context) -> Map:
        return self.out(self.resnet(torch.cat(parts, dim=1), [], context))


class AttentiveLayer(nn.Module):
    """Residual features h of each pixel, which know all pixels before it and not the pixel itself."""

    def __init__(self, *, inputs: int, width: int, blocks: int, key_width: int, vector: int, dropout: float):
        super().__init__()
        resnet = partial(GatedResnet, width=width, vector=vector)
        self.sizes = [key_width, width // 2]
        self.blocks = nn.ModuleList(resnet(kernel=HORIZONTAL, beside=0, dropout=dropout) for _ in range(blocks))
        self.keys = Reading(inputs=inputs + width + 2, outputs=sum(self.sizes), vector=vector)
        self.queries = Reading(inputs=width + 2, outputs=key_width, vector=vector)
        self.merged = resnet(kernel=POINT, beside=width // 2, dropout=0.0)

    def forward(self, h: Map, x: Map, at: Map, context: Context) -> Map:
        """`x` are the pixels themselves, which only later ones may know, and `at` their places."""
        for block in self.blocks:
            h = block(h, [], context)
        keys, values = self.kept(h, x, at, context)
        return self.answered(h, at, context, lambda queries: attend_to_earlier(queries, keys, values))

    def kept(self, h: Map, x: Map, at: Map, context: Context) -> tuple[Entries, Entries]:
        """Keys and values of pixels, for those that come later."""
        keys, values = self.keys([x, h, at], context).flatten(2).mT.split(self.sizes, dim=2)
        return keys, values

    def answered(self, h: Map, at: Map, context: Context, attend: Callable[[Entries], Entries]) -> Map:
        """The output, with this attention."""
        found = attend(self.queries([h, at], context).flatten(2).mT)
        return self.merged(h, [found.mT.unflatten(2, h.shape[2:])], context)
