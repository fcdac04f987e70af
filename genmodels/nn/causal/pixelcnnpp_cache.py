"""PixelCNN++ pixel by pixel: every feature is computed once, so an image costs about one pass.

At the start of a row the vertical stream computes the whole row; then the horizontal stream computes pixel after pixel.
Each convolution caches the row above. A stage of half the size runs at every second row and pixel, and its output is
used for two. (The idea: Ramachandran et al. 2017, https://arxiv.org/abs/1704.06001.)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmodels.context import Context
from genmodels.nn.causal.network import Stepper
from genmodels.nn.causal.pixelcnnpp_layers import GatedResnet, Layer, PixelInputs, ShiftedConv, Stage, Stem

Row = Float[Tensor, "n _p 1 _w"]
Pixel = Float[Tensor, "n _p 1 1"]


class RowCache:
    """A convolution of the vertical stream that caches the row above."""

    def __init__(self, conv: ShiftedConv, n: int, columns: int):
        self.conv = conv.conv
        self.above = self.conv.weight.new_zeros(n, self.conv.in_channels, 1, columns)

    def keep(self, x: Row) -> None:
        self.above = x

    def __call__(self, x: Row) -> Row:
        both, self.above = torch.cat([self.above, x], dim=2), x
        return self.conv(F.pad(both, (1, 1)))


class PixelCache:
    """A convolution of the horizontal stream that caches its row and the row above; it reads nothing to the right."""

    def __init__(self, conv: ShiftedConv, n: int, columns: int):
        self.conv = conv.conv
        self.rows = self.conv.weight.new_zeros(n, self.conv.in_channels, 2, 1 + columns)

    def start_row(self) -> None:
        self.rows[:, :, 0] = self.rows[:, :, 1]

    def keep(self, x: Pixel, j: int) -> None:
        self.rows[:, :, 1:, j + 1 : j + 2] = x

    def __call__(self, x: Pixel, j: int) -> Pixel:
        self.keep(x, j)
        return self.conv(self.rows[:, :, :, j : j + 2])


class ResnetCache:
    """A gated resnet of the horizontal stream, pixel by pixel."""

    def __init__(self, resnet: GatedResnet, n: int, columns: int, context: Context):
        self.resnet, self.context = resnet, context
        self.pixels = [PixelCache(conv, n, columns) for conv in convolutions(resnet)]

    def start_row(self) -> None:
        for cache in self.pixels:
            cache.start_row()

    def step(self, x: Pixel, beside: Sequence[Pixel], j: int) -> Pixel:
        first, second = (partial(cache, j=j) for cache in self.pixels)
        return self.resnet.changed(x, beside, self.context, first, second)


class LayerCache:
    """A layer that caches what its convolutions read later, and the row of its vertical stream."""

    def __init__(self, layer: Layer, n: int, columns: int, context: Context):
        self.vertical, self.context = layer.vertical, context
        self.rows = [RowCache(conv, n, columns) for conv in convolutions(layer.vertical)]
        self.horizontal = ResnetCache(layer.horizontal, n, columns, context)

    def start_row(self, v: Row, skip: Sequence[Row]) -> Row:
        self.horizontal.start_row()
        self.v = self.vertical.changed(v, skip, self.context, *self.rows)
        return self.v

    def step(self, h: Pixel, skip: Sequence[Pixel], j: int) -> Pixel:
        return self.horizontal.step(h, [self.v[:, :, :, j : j + 1], *skip], j)


def convolutions(resnet: GatedResnet) -> list[ShiftedConv]:
    return [resnet.first, resnet.second]


class InnerCache:
    """A stage of half the size, with the convolutions before and after it."""

    def __init__(self, stage: Stage, n: int, columns: int, context: Context):
        assert stage.inner is not None
        self.grow_v, self.grow_h = stage.grow_v, stage.grow_h
        self.shrink_v, self.shrink_h = RowCache(stage.shrink_v, n, columns), PixelCache(stage.shrink_h, n, columns)
        self.stage = StageCache(stage.inner, n, columns // 2, context)
        self.h = self.grow_h.weight.new_zeros(n, self.grow_h.out_channels, 2, columns)  # of two rows

    def start_row(self, v: Row, i: int) -> Row:
        self.shrink_h.start_row()
        if i % 2:
            self.shrink_v.keep(v)
        else:
            self.v = self.grow_v(self.stage.start_row(self.shrink_v(v), i // 2))  # of two rows
        return self.v[:, :, i % 2 :][:, :, :1]

    def step(self, h: Pixel, i: int, j: int) -> Pixel:
        if i % 2 or j % 2:
            self.shrink_h.keep(h, j)
        else:
            self.h[:, :, :, j : j + 2] = self.grow_h(self.stage.step(self.shrink_h(h, j), i // 2, j // 2))
        return self.h[:, :, i % 2 :, j : j + 1][:, :, :1]


class StageCache:
    """A stage: its layers and its inner stage."""

    def __init__(self, stage: Stage, n: int, columns: int, context: Context):
        self.into = [LayerCache(cast(Layer, layer), n, columns, context) for layer in stage.into]
        self.inner = None if stage.inner is None else InnerCache(stage, n, columns, context)
        self.back = [LayerCache(cast(Layer, layer), n, columns, context) for layer in stage.back]

    def start_row(self, v: Row, i: int) -> Row:
        """The vertical stream's output for row i, from its input."""
        inner = None if self.inner is None else partial(self.inner.start_row, i=i)
        return self.walk(v, LayerCache.start_row, inner)

    def step(self, h: Pixel, i: int, j: int) -> Pixel:
        """The horizontal stream's output for pixel (i, j), from its input."""
        inner = None if self.inner is None else partial(self.inner.step, i=i, j=j)
        return self.walk(h, partial(LayerCache.step, j=j), inner)

    def walk(self, x: Tensor, through: Callable[..., Tensor], inner: Callable[[Tensor], Tensor] | None) -> Tensor:
        """Like `Stage.forward`, for one stream of each layer."""
        skips = [x]
        for layer in self.into:
            x = through(layer, x, [])
            skips.append(x)
        if inner is None:
            skips.pop()
        else:
            x = inner(x)
        for layer in self.back:
            x = through(layer, x, [skips.pop()])
        return x


class StemCache:
    """The first convolutions, and the padded features of the pixels so far."""

    def __init__(self, stem: Stem, n: int, rows: int, columns: int):
        self.stem = stem
        self.x = stem.left.weight.new_zeros(n, stem.left.in_channels, 2 + rows, 1 + columns + 1)

    def write(self, features: Float[Tensor, "n f"], i: int, j: int) -> None:
        self.x[:, :, 2 + i, 1 + j] = features

    def row(self, i: int) -> Row:
        """The vertical stream's features of row i."""
        return self.stem.vertical(self.x[:, :, i : i + 3])

    def pixel(self, i: int, j: int) -> Pixel:
        """The horizontal stream's features of pixel (i, j)."""
        return self.stem.horizontal(self.x[:, :, i : i + 3, j : j + 3])


class PixelCNNPPCache(Stepper):
    """The network pixel by pixel, without dropout. `stem` and `head` are its first and last convolutions."""

    def __init__(
        self,
        stem: Stem,
        stage: Stage,
        head: nn.Conv2d,
        inputs: PixelInputs,
        *,
        n: int,
        rows: int,
        columns: int,
        context: Context,
    ):
        self.head, self.inputs = head, inputs
        self.stem, self.stage = StemCache(stem, n, rows, columns), StageCache(stage, n, columns, context)
        self.columns, self.pixel = columns, 0

    def step(self, values: Int[Tensor, "n v"] | None) -> Float[Tensor, "n k"]:
        if values is not None:
            self.stem.write(self.inputs(values), *divmod(self.pixel, self.columns))
            self.pixel += 1
        i, j = divmod(self.pixel, self.columns)
        if j == 0:
            self.stage.start_row(self.stem.row(i), i)
        return self.head(F.elu(self.stage.step(self.stem.pixel(i, j), i, j)))[:, :, 0, 0]
