"""Layers of PixelCNN++ (Salimans et al. 2017, https://arxiv.org/abs/1701.05517, section 2.3 and the authors' code).

There are two streams. The vertical stream sees all whole rows above a pixel; the horizontal stream sees the pixels to
the left and the vertical stream. Both are residual, and are downsampled and upsampled as in a U-Net.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor, nn

from genmodels.context import Context
from genmodels.nn.causal.network import Inputs, InputsName

Map = Float[Tensor, "b _p _h _w"]
VERTICAL, HORIZONTAL = (2, 3), (2, 2)  # kernels: to both sides, or to the left only; each over two rows
POINT = (1, 1)  # of the pixel alone


def concat_elu(x: Map) -> Float[Tensor, "b twice h w"]:
    """elu of x and of -x, concatenated along channels."""
    return F.elu(torch.cat([x, -x], dim=1))


class PixelInputs(Inputs):
    """The values of a pixel's channels as its features; the last one is 1, and 0 in the padding around an image."""

    def __init__(self, *, channels: int, inputs: InputsName, levels: int, width: int):
        super().__init__(inputs=inputs, levels=levels, width=width)
        self.features = channels * self.features + 1

    def forward(self, values: Integer[Tensor, "b c *s"]) -> Float[Tensor, "b f *s"]:
        x = super().forward(values).movedim(-1, 1).flatten(1, 2)
        return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)


class Stem(nn.Module):
    """First features of the two streams, from inputs padded by two rows of zeros above and a column on each side."""

    def __init__(self, *, inputs: int, width: int, vertical: bool):
        super().__init__()
        self.above = nn.Conv2d(inputs, width, (2, 3)) if vertical else None  # the two rows above
        self.over = nn.Conv2d(inputs, width, (1, 3))  # the row above
        self.left = nn.Conv2d(inputs, width, (2, 1))  # the pixel to the left, and the one above that

    def vertical(self, x: Float[Tensor, "b i h_and_2 w_and_2"]) -> Map:
        assert self.above is not None
        return self.above(x[:, :, :-1])

    def horizontal(self, x: Float[Tensor, "b i h_and_2 w_and_2"]) -> Map:
        return self.over(x[:, :, 1:-1]) + self.left(x[:, :, 1:, :-2])


class ShiftedConv(nn.Module):
    """Convolution whose kernel ends at the pixel's own row and, unless it is VERTICAL, at its own column."""

    def __init__(self, *, inputs: int, outputs: int, kernel: tuple[int, int], stride: int):
        super().__init__()
        above, left = kernel[0] - 1, kernel[1] // 2
        self.padding = (left, kernel[1] - 1 - left, above, 0)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride)

    def forward(self, x: Map) -> Map:
        return self.conv(F.pad(x, self.padding))


class GatedResnet(nn.Module):
    """x + a ⊙ σ(b), where two convolutions compute a and b from x and other features of the same size (`beside`)."""

    def __init__(self, *, kernel: tuple[int, int], width: int, beside: int, vector: int, dropout: float):
        super().__init__()
        self.first = ShiftedConv(inputs=2 * width, outputs=width, kernel=kernel, stride=1)
        self.beside = nn.Conv2d(2 * beside, width, 1) if beside else None
        self.second = ShiftedConv(inputs=2 * width, outputs=2 * width, kernel=kernel, stride=1)
        self.second.conv.weight.data.mul_(0.1)  # the block starts near the identity
        self.told = nn.Linear(vector, 2 * width, bias=False) if vector else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Map, beside: Sequence[Map], context: Context) -> Map:
        return self.changed(x, beside, context, self.first, lambda a: self.second(self.dropout(a)))

    def changed(
        self,
        x: Map,
        beside: Sequence[Map],
        context: Context,
        first: Callable[[Tensor], Tensor],
        second: Callable[[Tensor], Tensor],
    ) -> Map:
        """The output with these two convolutions: the module's own, or their cached versions for one row or pixel."""
        a = first(concat_elu(x))
        if self.beside is not None:
            a = a + self.beside(concat_elu(torch.cat(list(beside), dim=1)))
        a = second(concat_elu(a))
        if self.told is not None and context.vector is not None:
            a = a + self.told(context.vector.to(a.dtype))[:, :, None, None]
        a, b = a.chunk(2, dim=1)
        return x + a * b.sigmoid()


class Layer(nn.Module):
    """A gated resnet for each stream; on the way up each also gets features from the way down."""

    def __init__(self, *, width: int, back: bool, vector: int, dropout: float):
        super().__init__()
        skip = width if back else 0
        self.vertical = GatedResnet(kernel=VERTICAL, width=width, beside=skip, vector=vector, dropout=dropout)
        self.horizontal = GatedResnet(
            kernel=HORIZONTAL, width=width, beside=width + skip, vector=vector, dropout=dropout
        )

    def forward(self, v: Map, h: Map, skip: tuple[Map, Map] | None, context: Context) -> tuple[Map, Map]:
        skip_v, skip_h = ([], []) if skip is None else ([skip[0]], [skip[1]])
        v = self.vertical(v, skip_v, context)
        return v, self.horizontal(h, [v, *skip_h], context)


class Stage(nn.Module):
    """Layers at one resolution around an inner stage at half of it (if any), with skip connections."""

    def __init__(self, *, scales: int, blocks: int, width: int, vector: int, dropout: float):
        super().__init__()
        inside = scales > 1
        self.inner: Stage | None = None
        layer = partial(Layer, width=width, vector=vector, dropout=dropout)
        self.into = nn.ModuleList(layer(back=False) for _ in range(blocks))
        if inside:
            self.shrink_v = ShiftedConv(inputs=width, outputs=width, kernel=VERTICAL, stride=2)
            self.shrink_h = ShiftedConv(inputs=width, outputs=width, kernel=HORIZONTAL, stride=2)
            self.inner = Stage(scales=scales - 1, blocks=blocks, width=width, vector=vector, dropout=dropout)
            self.grow_v = nn.ConvTranspose2d(width, width, VERTICAL, stride=2, padding=(0, 1), output_padding=(0, 1))
            self.grow_h = nn.ConvTranspose2d(width, width, HORIZONTAL, stride=2)
        self.back = nn.ModuleList(layer(back=True) for _ in range(blocks + inside))

    def forward(self, v: Map, h: Map, context: Context) -> tuple[Map, Map]:
        skips = [(v, h)]
        for layer in self.into:
            v, h = layer(v, h, None, context)
            skips.append((v, h))
        if self.inner is None:
            skips.pop()  # the way up starts from it
        else:
            v, h = self.inner(self.shrink_v(v), self.shrink_h(h), context)
            v, h = self.grow_v(v), self.grow_h(h)
        for layer in self.back:
            v, h = layer(v, h, skips.pop(), context)
        return v, h
