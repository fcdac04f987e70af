"""MADE, a fully connected network whose outputs for an entry depend on the entries before it alone (Germain et al.
2015, https://arxiv.org/abs/1502.03509)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmodels.context import NO_CONTEXT, Context, Sizes, widths
from genmodels.errors import UserError
from genmodels.nn.layers.mlp import ACTIVATIONS, Activation

Degrees = Int[Tensor, " _n"]  # m: an input of degree m reaches hidden units of at least m, and outputs above m


class MaskedLinear(nn.Linear):
    """A linear layer with W ⊙ M for its matrix (equation 4)."""

    m: Tensor

    def __init__(self, mask: Float[Tensor, "n_out n_in"]):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("m", mask, persistent=False)

    def forward(self, x: Float[Tensor, "b n_in"]) -> Float[Tensor, "b n_out"]:
        return F.linear(x, self.weight * self.m, self.bias)


class MaskedMLP(nn.Module):
    """(b, d) and a context to (b, k · d): k numbers for each entry, which depend on those before it and the context.

    Number j of entry i is output j · d + i. Degrees of hidden units rise evenly from the first to the last that
    an input has. A context's vector is added to the first hidden layer, by a linear map of its own.
    """

    def __init__(
        self,
        *,
        order: Sequence[int],  # the entries, first to last: a permutation of 0..d-1
        k: int,  # numbers for each entry
        hidden: Sequence[int],  # widths of the hidden layers
        activation: Activation,
        context: Sizes,  # a vector, or {}: none
    ):
        super().__init__()
        d = len(order)
        require_permutation(order)
        vector = widths(context, ("vector",), "a masked network")["vector"]
        inputs = torch.tensor(order).argsort()  # the degree of an entry is its place
        degrees = [inputs, *(spread(n, -1 if vector else 0, d - 2) for n in hidden)]
        masks = [mask(a, b) for a, b in pairwise(degrees)]
        self.hidden = nn.ModuleList(MaskedLinear(each) for each in masks)
        self.out = MaskedLinear(mask(degrees[-1], inputs, strict=True).repeat(k, 1))
        self.vector = nn.Linear(vector, hidden[0], bias=False) if vector else None
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Float[Tensor, "b d"], context: Context = NO_CONTEXT) -> Float[Tensor, "b kd"]:
        for i, layer in enumerate(self.hidden):
            x = layer(x)
            if i == 0 and self.vector is not None:
                x = x + self.vector(context.vector)
            x = self.activation(x)
        return self.out(x)


def require_permutation(order: Sequence[int]) -> None:
    """UserError unless it has every number 0..d-1 once."""
    if sorted(order) != list(range(len(order))):
        raise UserError(
            f"the order {list(order)} is no permutation of 0..{len(order) - 1}, expected each entry's number once"
        )


def spread(n: int, low: int, high: int) -> Degrees:
    """`n` degrees, evenly from `low` to `high`, the largest of which is never below the lowest."""
    return torch.linspace(low, max(low, high), n).round().long()


def mask(
    of_inputs: Int[Tensor, " n_in"], of_outputs: Int[Tensor, " n_out"], strict: bool = False
) -> Float[Tensor, "n_out n_in"]:
    """1 where an output may see an input (equation 12; strict, for the last layer: equation 13)."""
    a, b = of_outputs[:, None], of_inputs[None]
    return (a > b if strict else a >= b).float()
