"""NICE: additive couplings of every other entry, and a scale for each entry at the end (Dinh, Krueger & Bengio 2015,
https://arxiv.org/abs/1410.8516)."""

from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context, Sizes
from genmodels.context import widths as context_widths
from genmodels.errors import UserError
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.coupling import Coupling
from genmodels.nn.flows.elementwise import Shift
from genmodels.nn.flows.flat import Flat, Vectors
from genmodels.nn.flows.partitions import EveryOther
from genmodels.nn.layers.mlp import Activation, mlp
from genmodels.parts.conditioners import join
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
        given, d = context_widths(context, ("vector",), "NICE"), prod(shape)
        if d < 2:
            raise UserError(
                f"NICE got samples of shape {list(shape)}, expected at least 2 entries: a coupling keeps some and"
                " changes others; choose other data"
            )
        steps: list[Bijection] = []
        for i in range(couplings):
            partition = EveryOther(parity=i % 2)
            kept = len(range(i % 2, d, 2))
            m = Addend(widths=[kept + given["vector"], *widths, d - kept], activation=activation)
            steps += [Coupling(partition=partition, net=m, transform=Shift())]
        super().__init__(inner=Chain([*steps, Scale(d=d)]))


class Addend(nn.Module):
    """m: what is kept, and a context's vector, to what is added; 0 at first, so that a coupling is the identity."""

    def __init__(
        self,
        *,
        widths: Sequence[int],  # of the input, the hidden layers and the output
        activation: Activation,
    ):
        super().__init__()
        self.layers = mlp(widths, activation)
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "b kept"], context: Context = NO_CONTEXT) -> Float[Tensor, "b changed"]:
        return self.layers(join(x, context))


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
