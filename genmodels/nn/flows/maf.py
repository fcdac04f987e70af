"""Masked autoregressive flow (Papamakarios et al. 2017, https://arxiv.org/abs/1705.07057)."""

from collections.abc import Sequence

from genmodels.context import Sizes
from genmodels.fields import coordinates
from genmodels.nn.flows.autoregressive import MaskedAutoregressive
from genmodels.nn.flows.batch_norm import BatchNorm
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.elementwise import GaussianAffine
from genmodels.nn.layers.masked_mlp import MaskedMLP
from genmodels.nn.layers.mlp import Activation
from genmodels.ranges import PositiveInt


class MAF(Chain):
    """Gaussian autoregressive layers, every other one in the reverse order, each followed by batch normalization."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (d,) of a point
        layers: PositiveInt,  # each with a network of its own; the paper has 5 or 10
        widths: Sequence[PositiveInt],  # of the hidden layers of each network
        activation: Activation,  # between layers of a network
        standing_batches: PositiveInt | None,  # of batch norm's moments in an evaluation; None: no batch norm
        context: Sizes,  # of the condition: a vector, or {}: none
    ):
        d = coordinates(shape, "MAF")
        steps: list[Bijection] = []
        for i in range(layers):
            order, transform = range(d)[:: -1 if i % 2 else 1], GaussianAffine()
            net = MaskedMLP(order=order, k=transform.n_params, hidden=widths, activation=activation, context=context)
            steps += [MaskedAutoregressive(order=order, net=net, transform=transform)]
            if standing_batches is not None:
                steps += [BatchNorm(shape=shape, standing_batches=standing_batches)]
        super().__init__(steps)
