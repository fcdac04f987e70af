"""Glow: actnorm, invertible 1x1 convolutions and couplings at several scales (Kingma & Dhariwal 2018,
https://arxiv.org/abs/1807.03039, figure 2)."""

from collections.abc import Sequence

from genmodels.context import Sizes
from genmodels.errors import UserError
from genmodels.nn.flows.actnorm import ActNorm
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.glow_layers import GlowCoupling, SplitPrior
from genmodels.nn.flows.invertible_conv import InvertibleConv
from genmodels.nn.flows.multiscale import Split, Squeezed
from genmodels.ranges import PositiveInt, ProbabilityBelowOne


class Glow(Chain):
    """One scale, squeeze -> steps -> split, with the next scale on the half that stays.

    The priors are learned: of the half that leaves, given the half that stays (`SplitPrior`); of what is left after the
    last scale, a mean and a std for each channel, as one more ActNorm. So all of the noise is standard normal.
    """

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w); h and w divide by 2 once for every scale
        scales: PositiveInt,  # L of the paper
        couplings: PositiveInt,  # at each scale, each after an actnorm and a 1x1 convolution: K of the paper, its steps
        width: PositiveInt,  # hidden features of the networks; the paper has 512
        dropout: ProbabilityBelowOne,  # of the couplings; the paper has none
        context: Sizes,  # that the networks are given: a vector, or {}: none
    ):
        check_divides(shape, scales)
        c, h, w = 4 * shape[0], shape[1] // 2, shape[2] // 2
        at_this_scale: list[Bijection] = []
        for _ in range(couplings):
            at_this_scale += [ActNorm(shape=(c, h, w)), InvertibleConv(shape=(c, h, w))]
            at_this_scale += [GlowCoupling(channels=c, width=width, dropout=dropout, context=context)]
        if scales == 1:
            at_this_scale += [ActNorm(shape=(c, h, w))]
        else:
            rest = Glow(
                shape=(c // 2, h, w),
                scales=scales - 1,
                couplings=couplings,
                width=width,
                dropout=dropout,
                context=context,
            )
            at_this_scale += [SplitPrior(channels=c), Split(inner=rest)]
        super().__init__([Squeezed(inner=Chain(at_this_scale))])


def check_divides(shape: Sequence[int], scales: int) -> None:
    if len(shape) != 3 or scales < 1 or any(side % 2**scales for side in shape[1:]):
        raise UserError(
            f"Glow got samples of shape {list(shape)} and {scales} scales, expected images [c, h, w] whose sides halve "
            "once for every scale, at least once; change model.bijections.glow.scales or the data"
        )
