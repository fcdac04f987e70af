"""Gated PixelCNN entry by entry: every feature is computed once, so an image costs about one pass.

At the start of a row every layer computes its vertical features from the few rows above that it
has cached. Within the row it computes a pixel's horizontal features from those to the left, and
the features of an image channel from those of earlier channels. The naive loop makes a whole
pass for every entry. (The idea: Ramachandran et al. 2017, https://arxiv.org/abs/1704.06001.)
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from genmodels.context import Context
from genmodels.nn.causal.gated_layer import GatedLayer, gate
from genmodels.nn.causal.masked_conv import MaskedConv
from genmodels.nn.causal.network import Inputs, Stepper


class ConvCache:
    """A masked convolution that caches the row of its inputs and computes one channel's outputs at one pixel.

    Inputs right of the pixel are not read, and those of later channels at the pixel, which are
    still from the previous row, are masked; so the cache is not cleared for a new row.
    """

    def __init__(self, conv: MaskedConv, n: int, columns: int, channels: int):
        self.taps, self.channels = conv.taps, channels
        weight = conv.kernel.squeeze(2).transpose(1, 2).flatten(1)  # (o, taps i)
        own = [conv.outputs == k for k in range(channels)]
        self.weights, self.biases = (
            [t[mine.to(t.device)] for mine in own] for t in (weight, conv.conv.get_parameter("bias"))
        )
        self.row = weight.new_zeros(n, conv.taps - 1 + columns, len(conv.inputs))

    def write(self, features: Tensor, j: int, k: int) -> None:
        """Inputs (n, i_k) of channel k at column j."""
        self.row[:, self.taps - 1 + j, k :: self.channels] = features

    def read(self, j: int, k: int) -> Tensor:
        """Outputs (n, o_k) of channel k at column j."""
        return F.linear(self.row[:, j : j + self.taps].flatten(1), self.weights[k], self.biases[k])


class GatedLayerCache:
    """A gated layer that caches the rows which its vertical stack reads, and a row of its horizontal stack."""

    def __init__(self, layer: GatedLayer, n: int, columns: int, channels: int, context: Context):
        self.layer, self.context = layer, context
        self.own = [layer.horizontal.outputs == k for k in range(channels)]
        self.horizontal = ConvCache(layer.horizontal, n, columns, channels)
        self.mix = ConvCache(layer.mix, n, columns, channels)
        conv = layer.vertical.conv
        self.above = conv.weight.new_zeros(n, conv.in_channels, layer.vertical.above + 1, columns)

    def start_row(self, v: Tensor) -> Tensor:
        """The vertical stack's output (n, p, 1, w) for a row, from its input (n, i, 1, w)."""
        self.above = torch.cat([self.above[:, :, 1:], v], 2)
        v, across = self.layer.look_up(self.layer.vertical.conv(self.above), self.context)
        self.across = [across[:, mine.to(v.device), 0].unbind(2) for mine in self.own]  # [k][j] -> (n, 2 p_k)
        return v

    def step(self, j: int, k: int) -> Tensor:
        """The change (n, p_k) of the horizontal stack's features of channel k at column j."""
        self.mix.write(gate(self.horizontal.read(j, k) + self.across[k][j]), j, k)
        return self.mix.read(j, k)


class PixelCNNCache(Stepper):
    """The layers and the last two 1 x 1 convolutions of a Gated PixelCNN, entry by entry, without dropout."""

    def __init__(
        self,
        layers: Sequence[GatedLayer],
        head: Sequence[MaskedConv],
        inputs: Inputs,
        *,
        n: int,
        channels: int,
        columns: int,
        context: Context,
    ):
        self.inputs, self.channels, self.columns = inputs, channels, columns
        self.layers = [GatedLayerCache(layer, n, self.columns, self.channels, context) for layer in layers]
        self.head = [ConvCache(conv, n, self.columns, self.channels) for conv in head]
        features = channels * inputs.features
        self.x = self.head[0].row.new_zeros(n, features, 1, columns)  # the row above, overwritten by this one
        self.entry = 0  # number of the next entry within the row

    def step(self, values: Int[Tensor, "n v"] | None) -> Float[Tensor, "n k"]:
        if values is not None:
            self.take(self.inputs(values[:, 0]))
        if self.entry == 0:
            self.start_row()
        return self.logits(*divmod(self.entry, self.channels))

    def take(self, features: Float[Tensor, "n e"]) -> None:
        j, k = divmod(self.entry, self.channels)
        self.x[:, k :: self.channels, 0, j] = features
        self.layers[0].horizontal.write(features, j, k)
        self.entry = (self.entry + 1) % (self.columns * self.channels)

    def start_row(self) -> None:
        v = self.x
        for layer in self.layers:
            v = layer.start_row(v)

    def logits(self, j: int, k: int) -> Tensor:
        first, *others = self.layers
        h = first.step(j, k)
        for layer in others:
            layer.horizontal.write(h, j, k)
            h = h + layer.step(j, k)
        for conv in self.head:
            conv.write(h.relu(), j, k)
            h = conv.read(j, k)
        return h
