"""RealNVP for points: affine couplings with fully connected networks (Dinh et al. 2017, https://arxiv.org/abs/1605.08803)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import NO_CONTEXT, Context, Sizes
from genmodels.context import widths as context_widths
from genmodels.fields import coordinates
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.coupling import ChannelAffine
from genmodels.nn.flows.partitions import checkerboard_mask
from genmodels.nn.flows.realnvp import affine_coupling
from genmodels.nn.layers.mlp import Activation, mlp
from genmodels.parts.conditioners import join
from genmodels.ranges import PositiveInt


class PointNet(nn.Module):
    """(b, d) and a context to (b, 2d): s before its tanh, and t; zero at first: the coupling is the identity."""

    def __init__(
        self,
        *,
        d: int,
        widths: Sequence[int],  # of the hidden layers
        activation: Activation,
        context: Sizes,
    ):
        super().__init__()
        given = context_widths(context, ("vector",), "PointCouplings")
        self.layers = mlp([d + given["vector"], *widths, 2 * d], activation)
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "b d"], context: Context = NO_CONTEXT) -> Float[Tensor, "b two_d"]:
        return self.layers(join(x, context))


class PointCouplings(Chain):
    """Couplings that change every other coordinate in turn, each followed by a learned affine map per coordinate."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (d,) of a point
        couplings: PositiveInt,  # layers; each changes every other coordinate
        widths: Sequence[PositiveInt],  # of the hidden layers of each network
        activation: Activation,  # between layers
        context: Sizes,  # of the condition: a vector, or {}: none
    ):
        d = coordinates(shape, "couplings of points", at_least=2)
        steps: list[Bijection] = []
        for i in range(couplings):
            net = PointNet(d=d, widths=widths, activation=activation, context=context)
            steps += [affine_coupling(checkerboard_mask(shape, i % 2), net), ChannelAffine(shape=shape)]
        super().__init__(steps)
