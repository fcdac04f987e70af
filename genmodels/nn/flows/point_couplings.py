"""RealNVP for points: affine couplings with fully connected networks (Dinh et al. 2017, https://arxiv.org/abs/1605.08803)."""

from collections.abc import Sequence

from genmodels.context import Sizes
from genmodels.fields import coordinates
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.coupling import ChannelAffine
from genmodels.nn.flows.coupling_mlp import CouplingMLP
from genmodels.nn.flows.partitions import checkerboard_mask
from genmodels.nn.flows.realnvp import affine_coupling
from genmodels.nn.layers.mlp import Activation
from genmodels.ranges import PositiveInt


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
            net = CouplingMLP(n_in=d, n_out=2 * d, widths=widths, activation=activation, context=context)
            steps += [affine_coupling(checkerboard_mask(shape, i % 2), net), ChannelAffine(shape=shape)]
        super().__init__(steps)
