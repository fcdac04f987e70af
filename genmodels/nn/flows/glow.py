"""Glow: actnorm, invertible 1x1 convolutions and couplings at several scales (Kingma & Dhariwal 2018,
https://arxiv.org/abs/1807.03039, figure 2)."""

from collections.abc import Sequence

from genmodels.context import Sizes
from genmodels.errors import UserError
from genmodels.nn.flows.actnorm import ActNorm
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.glow_layers import CouplingName, SplitPrior, glow_coupling
from genmodels.nn.flows.invertible_conv import InvertibleConv
from genmodels.nn.flows.multiscale import Split, Squeezed
from genmodels.ranges import PositiveInt, ProbabilityBelowOne


class Glow(Chain):
    """One scale: squeeze -> steps -> split, with the next scale on the half of the channels that is kept.

    The priors are learned. At a split, the prior of the half that is factored out depends on the half that is kept
    (`SplitPrior`); after the last scale it has a mean and a std for each channel, as one more ActNorm. These priors are
    maps to standard normal noise, so all of the flow's noise is standard normal.
    """

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w); h and w are divisible by 2**scales
        scales: PositiveInt,  # L in the paper
        couplings: PositiveInt,  # at each scale, each after an actnorm and a 1x1 convolution; K in the paper
        coupling: CouplingName,  # affine, or additive, which keeps volume
        width: PositiveInt,  # hidden features of the networks; the paper has 512
        dropout: ProbabilityBelowOne,  # in the couplings; the paper has none
        context: Sizes,  # of the condition: a vector, or {}: none
    ):
        check_glow_shape(shape, scales)
        c, h, w = 4 * shape[0], shape[1] // 2, shape[2] // 2
        at_this_scale: list[Bijection] = []
        for _ in range(couplings):
            at_this_scale += [ActNorm(shape=(c, h, w)), InvertibleConv(shape=(c, h, w))]
            at_this_scale += [glow_coupling(coupling, c, width, dropout, context)]
        if scales == 1:
            at_this_scale += [ActNorm(shape=(c, h, w))]
        else:
            rest = Glow(
                shape=(c // 2, h, w),
                scales=scales - 1,
                couplings=couplings,
                coupling=coupling,
                width=width,
                dropout=dropout,
                context=context,
            )
            at_this_scale += [SplitPrior(channels=c), Split(inner=rest)]
        super().__init__([Squeezed(inner=Chain(at_this_scale))])


def check_glow_shape(shape: Sequence[int], scales: int) -> None:
    if len(shape) != 3 or scales < 1 or any(side % 2**scales for side in shape[1:]):
        raise UserError(
            f"Glow got samples of shape {list(shape)} and {scales} scales, expected images [c, h, w] whose sides halve "
            "once for every scale, at least once; change model.bijections.glow.scales or the data"
        )
