"""MADE, a fully connected network with masked connections (Germain et al. 2015, https://arxiv.org/abs/1502.03509).

It has one mask or several, each with its own order and connectivity (sections 4.2 and 4.3). Training takes another mask
at every step, in turn. An evaluation takes the mean of the probabilities over all masks, as the authors' code does.
Samples are drawn with the first mask.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmodels.capabilities import Clock, FollowsClock, Protocol
from genmodels.context import Context, Sizes
from genmodels.context import widths as context_widths
from genmodels.errors import UserError
from genmodels.nn.causal.network import (
    CausalNetwork,
    Codes,
    Inputs,
    InputsName,
    Order,
    Stepper,
    entries_in_turn,
    require_few_weights,
)
from genmodels.nn.layers.masked_mlp import Degrees, mask
from genmodels.nn.layers.mlp import ACTIVATIONS, Activation
from genmodels.parts.orders import EntryOrder
from genmodels.parts.site_likelihoods import SiteLikelihood
from genmodels.ranges import PositiveInt, TwoOrMore
from genmodels.seeds import fold

Number = Int[Tensor, "1"]  # of a mask; a tensor, so that a compiled loss is the same for all masks
Params = Float[Tensor, "b k sites"]


class Weights(NamedTuple):
    """The weights that a mask leaves: W of each hidden layer, V of the outputs, A from the inputs to the outputs."""

    hidden: list[Tensor]
    out: Tensor
    direct: Tensor | None


class MADE(CausalNetwork, FollowsClock):
    """Every entry is a site; output j · d + i is parameter j of entry i.

    A context's vector is added to the first hidden layer and to the outputs.
    """

    m: Int[Tensor, "masks n"]  # degrees of the d entries, and of the units of each hidden layer
    current: Number

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (l,), (h, w) or (c, h, w)
        levels: TwoOrMore,  # values that an entry can take
        context: Sizes,  # widths of the condition: a vector
        likelihood: SiteLikelihood,  # says how many parameters a site needs
        order: EntryOrder,  # of the entries, for each mask
        inputs: InputsName,  # fractions: pixels on [0, 1]; scaled: on [-1, 1]; embedded: symbols
        embedding_width: PositiveInt,  # width of a symbol's vector, for embedded inputs
        widths: Sequence[PositiveInt],  # features of each hidden layer, at least one layer
        activation: Activation,  # of the hidden units
        direct: bool,  # whether inputs are connected to outputs directly, too
        masks: PositiveInt,  # taken in turn in training, averaged in evaluation
    ):
        super().__init__()
        if not widths:
            raise UserError("MADE got model.network.widths=[], expected the width of at least one hidden layer")
        vector = context_widths(context, ("vector",), "MADE")["vector"]
        natural, outputs = entries_in_turn(shape)[:, 0], likelihood.n_params(1)
        d, self.masks, self.one_order = len(natural), masks, masks == 1
        orders = [natural[order.permutation(d, k)] for k in range(masks)]
        self.register_buffer("order", orders[0][:, None], persistent=False)
        self.register_buffer("m", torch.stack([degrees(each, widths, k) for k, each in enumerate(orders)]), False)
        self.register_buffer("current", torch.zeros(1, dtype=torch.long), persistent=False)
        self.inputs = Inputs(inputs=inputs, levels=levels, width=embedding_width)
        self.sizes = [d, *widths]
        n_in, n_out = d * self.inputs.features, outputs * d
        require_few_weights(widths[-1], n_out, "MADE", "lower model.network.widths")
        if direct:
            require_few_weights(n_in, n_out, "MADE", "set model.network.direct=false")
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([n_in, *widths]))
        self.out = nn.Linear(widths[-1], n_out)
        self.direct = nn.Linear(n_in, n_out, bias=False) if direct else None
        self.told = nn.Linear(vector, widths[0] + n_out, bias=False) if vector else None
        self.activation = ACTIVATIONS[activation]()

    def at(self, clock: Clock) -> None:
        self.current.fill_(clock.step % self.masks)

    def forward(self, codes: Codes, context: Context) -> Params:
        return self.params(codes, context, self.first)[1]

    def passes(self, codes: Codes, context: Context) -> Iterator[tuple[Order, Params]]:
        every = torch.arange(self.masks, device=self.current.device)
        for number in (self.current if self.training else every).split(1):
            yield self.params(codes, context, number)

    def likelihood_protocol(self) -> Protocol:
        return {} if self.masks == 1 else {"masks": self.masks, "mean_over_masks": "probabilities"}

    def sampling_protocol(self) -> Protocol:
        return {} if self.masks == 1 else {"masks": self.masks, "drawn_by_mask": "first"}

    @property
    def first(self) -> Number:
        return torch.zeros_like(self.current)

    def params(self, codes: Codes, context: Context, number: Number) -> tuple[Order, Params]:
        """The order of the entries in a mask, and the parameters of each in this order."""
        weights, biases = self.weights(number), self.biases(context)
        h = x = self.inputs(codes.flatten(1)).flatten(1)
        for w, b in zip(weights.hidden, biases, strict=False):
            h = self.activation(F.linear(h, w) + b)
        a = F.linear(h, weights.out) + biases[-1]
        if weights.direct is not None:
            a = a + F.linear(x, weights.direct)
        order = self.degrees(number)[0].argsort()
        return order[:, None], a.unflatten(1, (-1, self.sizes[0]))[:, :, order]

    def degrees(self, number: Number) -> tuple[Degrees, ...]:
        """m of the entries, and of the units of each hidden layer."""
        return self.m.index_select(0, number)[0].split(self.sizes)

    def weights(self, number: Number) -> Weights:
        entries, *units = self.degrees(number)
        x = entries.repeat_interleave(self.inputs.features)
        layers = cast(Sequence[nn.Linear], self.hidden)
        hidden = [layer.weight * mask(a, b) for layer, (a, b) in zip(layers, pairwise([x, *units]), strict=True)]
        y = entries.repeat(len(self.out.bias) // len(entries))
        direct = None if self.direct is None else self.direct.weight * mask(x, y, strict=True)
        return Weights(hidden, self.out.weight * mask(units[-1], y, strict=True), direct)

    def biases(self, context: Context) -> list[Float[Tensor, "*b n"]]:
        """Of each hidden layer and of the outputs; the context moves the first and the last."""
        biases = [layer.bias for layer in (*self.hidden, self.out)]
        if self.told is not None and context.vector is not None:
            first, last = self.told(context.vector).split([self.sizes[1], len(self.out.bias)], dim=1)
            biases[0], biases[-1] = biases[0] + first, biases[-1] + last
        return biases

    def stepper(self, n: int, context: Context) -> "MADEStepper":
        return MADEStepper(self, n, context)


def degrees(order: Int[Tensor, " d"], widths: Sequence[int], number: int) -> Degrees:
    """m of the entries, which are their places, and of the units of each hidden layer, uniform from the least of the
    layer before it to the last but one place (section 4.1); a pure function of the number of the mask."""
    generator, d = torch.Generator().manual_seed(fold(0, number)), len(order)
    m = [order.argsort()]
    for width in widths:
        low = int(m[-1].min())
        m.append(torch.randint(low, max(low + 1, d - 1), (width,), generator=generator))
    return torch.cat(m)


class MADEStepper(Stepper):
    """Computes a unit once, when the last entry that it sees is known, so that all steps together cost one pass."""

    def __init__(self, network: MADE, n: int, context: Context):
        self.network, self.t, self.order = network, 0, network.order[:, 0].tolist()
        self.weights, self.biases = network.weights(network.first), network.biases(context)
        d, *widths = network.sizes
        self.x = network.m.new_zeros(n, d, network.inputs.features, dtype=network.out.weight.dtype)
        self.h = [self.x.new_zeros(n, width) for width in widths]
        self.units = [m.argsort().split(m.bincount(minlength=d).tolist()) for m in network.degrees(network.first)[1:]]

    def step(self, values: Int[Tensor, "n v"] | None) -> Float[Tensor, "n k"]:
        if values is not None:
            self.take(values)
        entry = slice(self.order[self.t], None, len(self.order))
        a = F.linear(self.h[-1], self.weights.out[entry]) + self.biases[-1][..., entry]
        if self.weights.direct is not None:
            a = a + F.linear(self.x.flatten(1), self.weights.direct[entry])
        self.t += 1
        return a

    def take(self, values: Int[Tensor, "n v"]) -> None:
        """Computes the units whose degree is the place of these values."""
        self.x[:, self.order[self.t - 1]] = self.network.inputs(values[:, 0])
        below = self.x.flatten(1)
        for h, w, b, units in zip(self.h, self.weights.hidden, self.biases, self.units, strict=False):
            new = units[self.t - 1]
            h[:, new] = self.network.activation(F.linear(below, w[new]) + b[..., new]).to(h.dtype)
            below = h
