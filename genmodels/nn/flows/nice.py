"""NICE: additive couplings of every other entry, and a scale for each entry at the end (Dinh, Krueger & Bengio 2015,
https://arxiv.org/abs/1410.8516)."""

from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context, Sizes
from genmodels.errors import UserError
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.coupling import Coupling
from genmodels.nn.flows.coupling_mlp import CouplingMLP
from genmodels.nn.flows.elementwise import Shift
from genmodels.nn.flows.flat import Flat, Vectors
from genmodels.nn.flows.partitions import EveryOther
from genmodels.nn.layers.mlp import Activation
from genmodels.ranges import PositiveInt


class Nice(Flat):
    """h = exp(s) ⊙ c_k(... c_1(x)), where the coupling c_i adds m_i(the entries of one parity) to the others."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # of a sample, which is flattened; at least 2 entries
        couplings: PositiveInt,  # layers; each changes every other entry, in turn
        widths: Sequence[PositiveInt],  # of the hidden layers of each network
        activation: Activation,  # between layers
        context: Sizes,  # of the condition: a vector, or {}: none
    ):
        if (d := prod(shape)) < 2:
            raise UserError(
                f"NICE got samples of shape {list(shape)}, expected at least 2 entries: a coupling keeps some and"
                " changes others; choose other data"
            )
        steps: list[Bijection] = []
        for i in range(couplings):
            partition = EveryOther(parity=i % 2)
            kept = len(range(i % 2, d, 2))
            m = CouplingMLP(n_in=kept, n_out=d - kept, widths=widths, activation=activation, context=context)
            steps += [Coupling(partition=partition, net=m, transform=Shift())]
        super().__init__(inner=Chain([*steps, Scale(d=d)]))


class Scale(Bijection):
    """h = exp(s) ⊙ x with a learned s for each entry, 0 at first (section 3.3)."""

    def __init__(
        self,
        *,
        d: int,
    ):
        super().__init__()
        self.s = nn.Parameter(torch.zeros(d))

    def forward(self, x: Vectors, context: Context = NO_CONTEXT) -> tuple[Vectors, PerSample]:
        return x * self.s.exp(), self.s.sum().expand(len(x))

    def inverse(self, z: Vectors, context: Context = NO_CONTEXT) -> Vectors:
        return z * (-self.s).exp()
