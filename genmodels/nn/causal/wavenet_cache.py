"""WaveNet step by step: every convolution keeps a queue of those past inputs that it will read again.

The idea is of Fast WaveNet (Le Paine et al. 2016, https://arxiv.org/abs/1611.09482).
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from genmodels.context import Context
from genmodels.nn.causal.network import Inputs, Stepper
from genmodels.nn.causal.wavenet_layers import DilatedConv, DilatedLayer

Step = Float[Tensor, "n _p 1"]


class Queue:
    """A convolution whose last inputs are kept in a ring; those before the first step are zeros."""

    def __init__(self, conv: DilatedConv, n: int):
        self.conv, self.t = conv.conv, 0
        self.kept = self.conv.weight.new_zeros(conv.past + 1, n, self.conv.in_channels)
        self.backs = range(conv.past, -1, -self.conv.dilation[0])  # how far back each tap reads

    def __call__(self, x: Step) -> Step:
        self.kept[self.t % len(self.kept)] = x[:, :, 0]
        taps = torch.stack([self.kept[(self.t - back) % len(self.kept)] for back in self.backs], dim=2)
        self.t += 1
        return F.linear(taps.flatten(1), self.conv.weight.flatten(1), self.conv.bias)[:, :, None]


class WaveNetCache(Stepper):
    """The network step by step, without dropout. `first` is its first convolution, `head` what follows the layers."""

    def __init__(
        self,
        inputs: Inputs,
        first: DilatedConv,
        layers: Sequence[DilatedLayer],
        head: Callable[[Sequence[Tensor]], Tensor],
        *,
        n: int,
        context: Context,
    ):
        self.inputs, self.layers, self.head, self.context = inputs, layers, head, context
        self.nothing = first.conv.weight.new_zeros(n, first.conv.in_channels, 1)
        self.first, self.queues = Queue(first, n), [Queue(layer.conv, n) for layer in layers]

    def step(self, values: Int[Tensor, "n v"] | None) -> Float[Tensor, "n k"]:
        x, skips = self.first(self.nothing if values is None else self.inputs(values).mT), []
        for layer, queue in zip(self.layers, self.queues, strict=True):
            x, skip = layer.changed(x, self.context, queue)
            skips.append(skip)
        return self.head(skips)[:, :, 0]
