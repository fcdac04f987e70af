"""The multi-scale architecture of RealNVP (Dinh et al. 2017, https://arxiv.org/abs/1605.08803, section 3.6)."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context, Sizes, widths
from genmodels.errors import UserError
from genmodels.fields import image_shape
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.coupling import ChannelAffine, Coupling
from genmodels.nn.flows.coupling_net import CouplingNet
from genmodels.nn.flows.elementwise import TanhAffine
from genmodels.nn.flows.multiscale import Split, Squeezed
from genmodels.nn.flows.partitions import Mask, Masked, channel_mask, checkerboard_mask
from genmodels.nn.shapes import Maps
from genmodels.ranges import PositiveInt, ProbabilityBelowOne


class RealNVP(Bijection):
    """One scale, z = coarse(fine(x)); its `coarse` contains the next scale.

    fine: couplings with checkerboard masks; coarse: squeeze, couplings with channel masks, split, and the
    next scale on the half that is kept. The last scale has one more checkerboard coupling and no `coarse`
    (equation 15).
    """

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w); h and w are divisible by 2**(scales - 1)
        width: PositiveInt,  # hidden features of the networks at the finest resolution
        multipliers: Sequence[PositiveInt],  # features / width at each resolution, finest first; one a scale
        couplings: PositiveInt,  # with each kind of mask at each scale; the paper has 3
        blocks: PositiveInt,  # residual blocks of each network
        dropout: ProbabilityBelowOne,  # in the networks, in training
        context: Sizes,  # of the condition: a vector, or {}: none
    ):
        super().__init__()
        widths(context, ("vector",), "RealNVP")
        check_realnvp_shape(shape, scales=len(multipliers))
        (c, h, w), (finest, *coarser) = shape, multipliers
        options: dict[str, Any] = {"blocks": blocks, "dropout": dropout, "context": context}
        count = couplings if coarser else couplings + 1
        self.fine = coupling_stack(checkerboard_mask, shape, count, width=width * finest, **options)
        self.coarse: Bijection = Chain([])
        if coarser:
            half = (4 * c, h // 2, w // 2)
            channels = coupling_stack(channel_mask, half, couplings, width=width * coarser[0], **options)
            rest = RealNVP(
                shape=(2 * c, h // 2, w // 2), width=width, multipliers=coarser, couplings=couplings, **options
            )
            self.coarse = Squeezed(inner=Chain([channels, Split(inner=rest)]))

    def forward(self, x: Maps, context: Context = NO_CONTEXT) -> tuple[Maps, PerSample]:
        x, fine = self.fine(x, context)
        z, coarse = self.coarse(x, context)
        return z, fine + coarse

    def inverse(self, z: Maps, context: Context = NO_CONTEXT) -> Maps:
        return self.fine.inverse(self.coarse.inverse(z, context), context)


def coupling_stack(mask: Callable[[Sequence[int], int], Mask], shape: Sequence[int], count: int, **options) -> Chain:
    """`count` couplings with masks of alternating parity, each followed by a learned affine map per channel."""
    steps: list[Bijection] = []
    for i in range(count):
        net = CouplingNet(channels=shape[0], **options)
        steps += [affine_coupling(mask(shape, i % 2), net), ChannelAffine(shape=shape)]
    return Chain(steps)


def affine_coupling(mask: Mask, net: nn.Module) -> Coupling:
    """RealNVP's: z = b ⊙ x + (1 - b) ⊙ (x ⊙ exp(s(b ⊙ x)) + t(b ⊙ x)), equation 9."""
    return Coupling(partition=Masked(mask=mask), net=net, transform=TanhAffine(channels=len(mask), dims=mask.ndim))


def check_realnvp_shape(shape: Sequence[int], scales: int) -> None:
    _, h, w = image_shape(shape, "RealNVP")
    factor = 2 ** (scales - 1)
    if h % factor or w % factor or h * w == factor * factor:
        raise UserError(
            f"RealNVP got images of {h}x{w} and {scales} scales (entries of `multipliers`) and expected sides that"
            f" halve {scales - 1} times and leave more than one pixel; give fewer multipliers"
        )
