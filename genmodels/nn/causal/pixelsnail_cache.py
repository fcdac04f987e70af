"""PixelSNAIL pixel by pixel: every feature, key and value is computed once, so an image costs about one pass.

Convolutions cache their row and the row above, as in PixelCNN++. The keys and values of a pixel are computed when the
pixel itself is known, which is one step after its features.
"""

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmodels.context import Context
from genmodels.nn.causal.network import Stepper
from genmodels.nn.causal.pixelcnnpp_cache import Pixel, ResnetCache, StemCache
from genmodels.nn.causal.pixelcnnpp_layers import GatedResnet, PixelInputs, Stem
from genmodels.nn.causal.pixelsnail_layers import AttentiveLayer, Entries


class AttentiveLayerCache:
    """A layer with the rows of its convolutions, and the keys and values of the pixels so far."""

    def __init__(self, layer: AttentiveLayer, n: int, rows: int, columns: int, context: Context):
        self.layer, self.columns, self.context, self.pixel = layer, columns, context, 0
        self.blocks = [ResnetCache(cast(GatedResnet, block), n, columns, context) for block in layer.blocks]
        weight = layer.keys.out.weight
        self.keys, self.values = (weight.new_zeros(n, rows * columns, size) for size in layer.sizes)

    def take(self, x: Pixel, at: Pixel) -> None:
        """Keeps the key and the value of the last pixel, whose features `x` are now known, and goes to the next."""
        self.keys[:, self.pixel, None], self.values[:, self.pixel, None] = self.layer.kept(self.h, x, at, self.context)
        self.pixel += 1

    def step(self, h: Pixel, at: Pixel) -> Pixel:
        j = self.pixel % self.columns
        for block in self.blocks:
            if j == 0:
                block.start_row()
            h = block.step(h, [], j)
        self.h = h
        return self.layer.answered(h, at, self.context, self.attend)

    def attend(self, queries: Entries) -> Entries:
        keys, values = (kept[:, None, : self.pixel].to(queries.dtype) for kept in (self.keys, self.values))
        if not self.pixel:  # nothing is before the first
            return values.new_zeros(len(values), 1, values.shape[3])
        return F.scaled_dot_product_attention(queries[:, None], keys, values)[:, 0]


class PixelSNAILCache(Stepper):
    """The network pixel by pixel, without dropout. `stem` and `head` are its first and last convolutions."""

    def __init__(
        self,
        inputs: PixelInputs,
        stem: Stem,
        layers: Sequence[AttentiveLayer],
        head: nn.Conv2d,
        places: Float[Tensor, "1 2 h w"],
        *,
        n: int,
        context: Context,
    ):
        rows, self.columns = places.shape[2:]
        self.inputs, self.head, self.pixel = inputs, head, 0
        self.stem = StemCache(stem, n, rows, self.columns)
        self.layers = [AttentiveLayerCache(layer, n, rows, self.columns, context) for layer in layers]
        self.places = places.expand(n, -1, -1, -1).flatten(2)[..., None, None].unbind(2)  # (n, 2, 1, 1) each

    def step(self, values: Int[Tensor, "n v"] | None) -> Float[Tensor, "n k"]:
        if values is not None:
            self.take(self.inputs(values))
        at = self.places[self.pixel]
        h = self.stem.pixel(*divmod(self.pixel, self.columns))
        for layer in self.layers:
            h = layer.step(h, at)
        return self.head(F.elu(h))[:, :, 0, 0]

    def take(self, x: Float[Tensor, "n f"]) -> None:
        self.stem.write(x, *divmod(self.pixel, self.columns))
        for layer in self.layers:
            layer.take(x[:, :, None, None], self.places[self.pixel])
        self.pixel += 1
