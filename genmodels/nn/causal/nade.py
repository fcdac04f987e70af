"""NADE, whose hidden units are shared by all entries (Larochelle & Murray 2011,
https://proceedings.mlr.press/v15/larochelle11a.html; Uria et al. 2016, https://arxiv.org/abs/1605.02226).

    a_1 = c,   a_{i+1} = a_i + W_i x_i,   h_i = σ(a_i),   parameters of entry i: V_i h_i + b_i
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmodels.context import Context, Sizes, widths
from genmodels.nn.causal.network import (
    CausalNetwork,
    Codes,
    Inputs,
    InputsName,
    Stepper,
    entries_in_turn,
    require_few_weights,
)
from genmodels.nn.layers.mlp import ACTIVATIONS, Activation
from genmodels.parts.orders import EntryOrder
from genmodels.parts.site_likelihoods import SiteLikelihood
from genmodels.ranges import PositiveInt, TwoOrMore

Sums = Float[Tensor, "b h"]
TOGETHER = 16  # sites whose a are computed by one product; the product's cost per site grows with it


class NADE(CausalNetwork):
    """Every entry is a site, in the given order. A context's vector is added to c, by a linear map."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (l,), (h, w) or (c, h, w)
        levels: TwoOrMore,  # values that an entry can take
        context: Sizes,  # widths of the condition: a vector
        likelihood: SiteLikelihood,  # says how many parameters a site needs
        order: EntryOrder,  # of the entries
        inputs: InputsName,  # fractions: pixels on [0, 1]; scaled: on [-1, 1]; embedded: symbols
        embedding_width: PositiveInt,  # width of a symbol's vector, for embedded inputs
        width: PositiveInt,  # hidden units
        activation: Activation,  # of the hidden units; sigmoid in the papers
    ):
        super().__init__()
        vector = widths(context, ("vector",), "NADE")["vector"]
        natural, k = entries_in_turn(shape), likelihood.n_params(1)
        d = len(natural)
        self.register_buffer("order", natural[order.permutation(d, 0)], persistent=False)
        self.inputs = Inputs(inputs=inputs, levels=levels, width=embedding_width)
        e = self.inputs.features
        require_few_weights(width, k * d, "NADE", "lower model.network.width")
        self.w = nn.Parameter(torch.empty(d, e, width).uniform_(-1, 1) / (d * e) ** 0.5)
        self.c = nn.Parameter(torch.zeros(width))
        self.v = nn.Parameter(torch.empty(d, width, k).uniform_(-1, 1) / width**0.5)
        self.b = nn.Parameter(torch.zeros(d, 1, k))
        self.told = nn.Linear(vector, width, bias=False) if vector else None
        self.activation = ACTIVATIONS[activation]()

    def forward(self, codes: Codes, context: Context) -> Float[Tensor, "b k sites"]:
        x = self.inputs(codes.flatten(1)[:, self.order[:, 0]])
        a, parts = self.begin(len(x), context), []
        for some, w, v in zip(x.split(TOGETHER, 1), self.w.split(TOGETHER), self.v.split(TOGETHER), strict=True):
            parts.append(self.activation(a + sums(some, w)) @ v)  # (s, b, k)
            a = a + some.flatten(1) @ w.flatten(0, 1)
        return (torch.cat(parts) + self.b).permute(1, 2, 0)

    def begin(self, n: int, context: Context) -> Sums:
        """a_1."""
        a = self.c.expand(n, -1)
        return a if self.told is None or context.vector is None else a + self.told(context.vector)

    def stepper(self, n: int, context: Context) -> "NADEStepper":
        return NADEStepper(self, n, context)


def sums(x: Float[Tensor, "b s e"], w: Float[Tensor, "s e h"]) -> Float[Tensor, "s b h"]:
    """Σ_{j<i} W_j x_j for each of a few sites i, as one product with the later entries set to zero."""
    before = x.new_ones(len(w), len(w)).tril(-1)[:, None, :, None]
    return (before * x).flatten(2) @ w.flatten(0, 1)


class NADEStepper(Stepper):
    """Carries a from site to site, so that all steps together cost one pass."""

    def __init__(self, network: NADE, n: int, context: Context):
        self.network, self.i, self.a = network, 0, network.begin(n, context)

    def step(self, values: Int[Tensor, "n v"] | None) -> Float[Tensor, "n k"]:
        net = self.network
        if values is not None:
            self.a = self.a + net.inputs(values[:, 0]) @ net.w[self.i - 1]
        self.i += 1
        return net.activation(self.a) @ net.v[self.i - 1] + net.b[self.i - 1]
