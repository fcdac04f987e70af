"""Fully connected networks of residual blocks with the activation before each layer (He et al. 2016,
https://arxiv.org/abs/1603.05027), as spline flows have them (Durkan et al. 2019, https://arxiv.org/abs/1906.04032),
and the same with MADE's masks (Germain et al. 2015, https://arxiv.org/abs/1502.03509)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import NO_CONTEXT, Context, Sizes, widths
from genmodels.nn.layers.masked_mlp import MaskedLinear, mask, require_permutation, spread
from genmodels.nn.layers.zeroed import zeroed
from genmodels.parts.conditioners import join
from genmodels.ranges import PositiveInt, ProbabilityBelowOne

SMALL = 1e-3  # bound of the initial weights of a block's last layer


class ResidualLinearBlock(nn.Module):
    """h + second(dropout(relu(first(relu(h))))), nearly h at first."""

    def __init__(self, first: nn.Linear, second: nn.Linear, dropout: float):
        super().__init__()
        self.body = nn.Sequential(nn.ReLU(), first, nn.ReLU(), nn.Dropout(dropout), second)
        for parameter in second.parameters():
            nn.init.uniform_(parameter, -SMALL, SMALL)

    def forward(self, h: Float[Tensor, "b width"]) -> Float[Tensor, "b width"]:
        return h + self.body(h)


class ResidualMLP(nn.Module):
    """(b, n_in) and a context to (b, n_out), 0 at first; a context's vector is further inputs."""

    def __init__(
        self,
        *,
        n_in: PositiveInt,
        n_out: PositiveInt,
        width: PositiveInt,  # hidden features
        blocks: PositiveInt,
        dropout: ProbabilityBelowOne,  # in each block
        context: Sizes,  # a vector, or {}: none
    ):
        super().__init__()
        vector = widths(context, ("vector",), "a residual network")["vector"]
        self.first = nn.Linear(n_in + vector, width)
        pairs = ((nn.Linear(width, width), nn.Linear(width, width)) for _ in range(blocks))
        self.blocks = nn.Sequential(*(ResidualLinearBlock(*pair, dropout) for pair in pairs))
        self.last = zeroed(nn.Linear(width, n_out))

    def forward(self, x: Float[Tensor, "b n_in"], context: Context = NO_CONTEXT) -> Float[Tensor, "b n_out"]:
        return self.last(self.blocks(self.first(join(x, context))))


class MaskedResidualMLP(nn.Module):
    """(b, d) and a context to (b, k · d), as `MaskedMLP`; 0 at first. All hidden layers have the same degrees, so what
    a block adds depends on nothing else than what it is added to."""

    def __init__(
        self,
        *,
        order: Sequence[int],  # the entries, first to last: a permutation of 0..d-1
        k: PositiveInt,  # numbers for each entry
        width: PositiveInt,  # hidden features
        blocks: PositiveInt,
        dropout: ProbabilityBelowOne,  # in each block
        context: Sizes,  # a vector, or {}: none
    ):
        super().__init__()
        require_permutation(order)
        vector = widths(context, ("vector",), "a masked network")["vector"]
        inputs = torch.tensor(order).argsort()
        hidden = spread(width, -1 if vector else 0, len(order) - 2)
        inside = mask(hidden, hidden)
        self.first = MaskedLinear(mask(inputs, hidden))
        self.vector = nn.Linear(vector, width, bias=False) if vector else None
        pairs = ((MaskedLinear(inside), MaskedLinear(inside)) for _ in range(blocks))
        self.blocks = nn.Sequential(*(ResidualLinearBlock(*pair, dropout) for pair in pairs))
        self.last = zeroed(MaskedLinear(mask(hidden, inputs, strict=True).repeat(k, 1)))

    def forward(self, x: Float[Tensor, "b d"], context: Context = NO_CONTEXT) -> Float[Tensor, "b kd"]:
        h = self.first(x)
        if self.vector is not None:
            h = h + self.vector(context.vector)
        return self.last(self.blocks(h))
