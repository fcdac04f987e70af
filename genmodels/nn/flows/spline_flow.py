"""Neural spline flows: rational-quadratic couplings or autoregressive maps, with linear maps between them (Durkan et
al. 2019, https://arxiv.org/abs/1906.04032, sections 3.2 and 5.1)."""

from collections.abc import Callable, Sequence

from genmodels.context import Sizes
from genmodels.fields import coordinates
from genmodels.nn.flows.autoregressive import MaskedAutoregressive
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.coupling import Coupling
from genmodels.nn.flows.invertible_conv import InvertibleConv
from genmodels.nn.flows.partitions import Halves
from genmodels.nn.flows.rational_quadratic import RationalQuadratic
from genmodels.nn.layers.residual_mlp import MaskedResidualMLP, ResidualMLP
from genmodels.ranges import PositiveFloat, PositiveInt, ProbabilityBelowOne, TwoOrMore


class SplineCouplings(Chain):
    """RQ-NSF (C): couplings that keep the first half of the coordinates."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (d,) of a point, d at least 2
        couplings: PositiveInt,  # each with a network of its own; the paper has 10
        bins: TwoOrMore,  # of each spline
        bound: PositiveFloat,  # splines change [-bound, bound]
        width: PositiveInt,  # hidden features of each network
        blocks: PositiveInt,  # residual blocks of each network
        dropout: ProbabilityBelowOne,  # in the networks
        context: Sizes,  # of the condition: a vector, or {}: none
    ):
        d = coordinates(shape, "spline couplings", at_least=2)
        spline = RationalQuadratic(bins=bins, bound=bound)

        def coupling() -> Bijection:
            n_out = spline.n_params * (d - d // 2)
            net = ResidualMLP(n_in=d // 2, n_out=n_out, width=width, blocks=blocks, dropout=dropout, context=context)
            return Coupling(partition=Halves(), net=net, transform=spline)

        super().__init__(mixed(d, couplings, coupling))


class SplineAutoregressive(Chain):
    """RQ-NSF (AR): each coordinate depends on those before it."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (d,) of a point
        layers: PositiveInt,  # each with a network of its own; the paper has 10
        bins: TwoOrMore,  # of each spline
        bound: PositiveFloat,  # splines change [-bound, bound]
        width: PositiveInt,  # hidden features of each network
        blocks: PositiveInt,  # residual blocks of each network
        dropout: ProbabilityBelowOne,  # in the networks
        context: Sizes,  # of the condition: a vector, or {}: none
    ):
        d = coordinates(shape, "a spline flow")
        spline, order = RationalQuadratic(bins=bins, bound=bound), range(d)

        def layer() -> Bijection:
            net = MaskedResidualMLP(
                order=order, k=spline.n_params, width=width, blocks=blocks, dropout=dropout, context=context
            )
            return MaskedAutoregressive(order=order, net=net, transform=spline)

        super().__init__(mixed(d, layers, layer))


def mixed(d: int, count: int, layer: Callable[[], Bijection]) -> list[Bijection]:
    """`count` layers with an invertible linear map, a random rotation at first, before each and after the last."""
    linear = [InvertibleConv(shape=(d,)) for _ in range(count + 1)]
    return [linear[0], *(step for each in linear[1:] for step in (layer(), each))]
