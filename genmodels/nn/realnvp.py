"""The multi-scale architecture of RealNVP (Dinh et al. 2017, https://arxiv.org/abs/1605.08803, section 3.6)."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from genmodels.capabilities import Labels, PerSample
from genmodels.errors import UserError
from genmodels.nn.bijections import Bijection, Chain
from genmodels.nn.coupling import AffineCoupling, ChannelAffine, Mask, channelwise, checkerboard
from genmodels.nn.coupling_net import CouplingNet
from genmodels.nn.multiscale import Split, Squeezed

Maps = Float[Tensor, "b c h w"]


class RealNVP(Bijection):
    """One scale, z = coarse(fine(x)), with the next scale inside its `coarse`.

    fine: couplings with checkerboard masks; coarse: squeeze, couplings with channel masks, split, and the
    next scale on the half that stays. The last scale is one more checkerboard coupling instead (equation 15).
    """

    def __init__(
        self,
        *,
        shape: Sequence[int],  # (c, h, w); h and w divide by 2 once for every scale but the last
        widths: Sequence[int],  # hidden features of the networks at each resolution, finest first; one a scale
        couplings: int,  # of each kind of mask at each scale; the paper has 3
        blocks: int,  # residual blocks of each network
        dropout: float,  # in the networks, while training
        classes: int | None,  # labels that the networks are given; None: none
    ):
        super().__init__()
        check_divides(shape, scales=len(widths))
        (c, h, w), (width, *coarser) = shape, widths
        options: dict[str, Any] = {"blocks": blocks, "dropout": dropout, "classes": classes}
        count = couplings if coarser else couplings + 1
        self.fine = coupling_stack(checkerboard, shape, count, width=width, **options)
        self.coarse: Bijection = Chain([])
        if coarser:
            half = (4 * c, h // 2, w // 2)
            channels = coupling_stack(channelwise, half, couplings, width=coarser[0], **options)
            rest = RealNVP(shape=(2 * c, h // 2, w // 2), widths=coarser, couplings=couplings, **options)
            self.coarse = Squeezed(inner=Chain([channels, Split(inner=rest)]))

    def forward(self, x: Maps, y: Labels | None = None) -> tuple[Maps, PerSample]:
        x, fine = self.fine(x, y)
        z, coarse = self.coarse(x, y)
        return z, fine + coarse

    def inverse(self, z: Maps, y: Labels | None = None) -> Maps:
        return self.fine.inverse(self.coarse.inverse(z, y), y)


def coupling_stack(mask: Callable[[Sequence[int], int], Mask], shape: Sequence[int], count: int, **options) -> Chain:
    """`count` couplings with masks of alternating parity, a learned affine map of the channels after each."""
    steps: list[Bijection] = []
    for i in range(count):
        net = CouplingNet(channels=shape[0], **options)
        steps += [AffineCoupling(mask=mask(shape, i % 2), net=net), ChannelAffine(shape=shape)]
    return Chain(steps)


def check_divides(shape: Sequence[int], scales: int) -> None:
    _, h, w = shape
    factor = 2 ** (scales - 1)
    if h % factor or w % factor or h * w == factor * factor:
        raise UserError(
            f"RealNVP got images of {h}x{w} and {scales} scales (entries of `widths`) and expected sides that"
            f" halve {scales - 1} times and leave more than one pixel; give fewer widths"
        )
