"""WaveNet step by step: every convolution keeps a queue of those past inputs that it will read again.

The idea is of Fast WaveNet (Le Paine et al. 2016, https://arxiv.org/abs/1611.09482).
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genmodels.context import Context
from genmodels.nn.causal.network import Inputs, Stepper
from genmodels.nn.causal.wavenet_layers import DilatedConv, DilatedLayer

Step = Float[Tensor, "n 1 _p"]


class Queue:
    """A convolution whose last inputs are kept in a ring; those before the first step are zeros."""

    def __init__(self, conv: DilatedConv, n: int):
        self.conv, self.t = conv, 0
        self.kept = conv.linear.weight.new_zeros(conv.backs[0] + 1, n, 1, conv.inputs)

    def __call__(self, x: Step) -> Step:
        self.kept[self.t % len(self.kept)] = x
        taps = [self.kept[(self.t - back) % len(self.kept)] for back in self.conv.backs]
        self.t += 1
        return self.conv.linear(torch.cat(taps, dim=2))


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
        self.nothing = first.linear.weight.new_zeros(n, 1, first.inputs)
        self.first, self.queues = Queue(first, n), [Queue(layer.conv, n) for layer in layers]

    def step(self, values: Int[Tensor, "n v"] | None) -> Float[Tensor, "n k"]:
        x, zs = self.first(self.nothing if values is None else self.inputs(values)), []
        for layer, queue in zip(self.layers, self.queues, strict=True):
            x, z = layer.changed(x, self.context, queue)
            zs.append(z)
        return self.head(zs)[:, 0]
