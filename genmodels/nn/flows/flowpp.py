"""Flow++: couplings by mixtures of logistics, with attention in their networks (Ho et al. 2019,
https://arxiv.org/abs/1902.00275, section 3).

Simpler than in the paper: the networks have SiLU and group normalization, where the paper has concatenated ELU and
layer normalization, and none of their weights takes its first value from data, as actnorm does here.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import NO_CONTEXT, Context, Sizes, widths
from genmodels.errors import UserError
from genmodels.fields import image_shape
from genmodels.nn.flows.actnorm import ActNorm
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.coupling import Coupling
from genmodels.nn.flows.invertible_conv import InvertibleConv
from genmodels.nn.flows.mixture_logistic import MixtureLogistic
from genmodels.nn.flows.multiscale import Squeezed
from genmodels.nn.flows.partitions import Halves, Masked, Partition, checkerboard_mask
from genmodels.nn.layers.zeroed import zeroed
from genmodels.nn.shapes import Maps
from genmodels.ranges import PositiveInt, ProbabilityBelowOne


class FlowPP(Chain):
    """Couplings with checkerboard masks; then, at half the resolution, of halves of the channels, and with masks again.

    There is an actnorm and an invertible 1x1 convolution before each coupling.
    """

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image; h and w are even
        couplings: Sequence[PositiveInt],  # with masks; at half the resolution by channels, with masks: 3 numbers
        components: PositiveInt,  # of each mixture; K in the paper, which has 32
        blocks: PositiveInt,  # of each network: a convolution, and attention
        width: PositiveInt,  # features of the networks; the paper has 96
        heads: PositiveInt,  # of attention; must divide the width; the paper has 4
        dropout: ProbabilityBelowOne,  # in the networks, in training; the paper has 0.2 for CIFAR-10
        context: Sizes,  # of the condition: a vector, or {}: none
    ):
        c, h, w = check_flowpp_settings(shape, couplings, width, heads)
        half = (4 * c, h // 2, w // 2)
        sizes: dict[str, Any] = {"blocks": blocks, "width": width, "heads": heads, "dropout": dropout}
        options: dict[str, Any] = {"components": components, "context": context, **sizes}
        fine, channels, coarse = couplings
        steps = [step for i in range(fine) for step in masked_steps((c, h, w), i, **options)]
        inner = [step for _ in range(channels) for step in channel_steps(half, **options)]
        inner += [step for i in range(coarse) for step in masked_steps(half, i, **options)]
        super().__init__([*steps, Squeezed(inner=Chain(inner))])


def masked_steps(shape: Sequence[int], i: int, **options: Any) -> list[Bijection]:
    """Changes the pixels of one colour of a checkerboard: even i those of one, odd i of the other."""
    c = shape[0]
    return steps_of(Masked(mask=checkerboard_mask(shape, i % 2)), shape, kept=c, changed=c, **options)


def channel_steps(shape: Sequence[int], **options: Any) -> list[Bijection]:
    """Changes half of the channels."""
    kept = shape[0] // 2
    return steps_of(Halves(), shape, kept=kept, changed=shape[0] - kept, **options)


def steps_of(
    partition: Partition, shape: Sequence[int], *, kept: int, changed: int, components: int, **options: Any
) -> list[Bijection]:
    """Actnorm, a 1x1 convolution where there are several channels, and a coupling, which changes some of them."""
    g = MixtureLogistic(components=components, channels=changed, dims=3)
    net = FlowPPNet(channels_in=kept, channels_out=g.n_params * changed, size=shape[1:], **options)
    coupling = Coupling(partition=partition, net=net, transform=g)
    mixing = [InvertibleConv(shape=shape)] if shape[0] > 1 else []
    return [ActNorm(shape=shape), *mixing, coupling]


class FlowPPNet(nn.Module):
    """(b, c_in, h, w) and a context to (b, c_out, h, w), 0 at first: blocks of a gated convolution and attention."""

    def __init__(
        self,
        *,
        channels_in: int,
        channels_out: int,
        size: Sequence[int],  # (h, w)
        blocks: int,
        width: int,
        heads: int,
        dropout: float,
        context: Sizes,  # a vector, or {}: none
    ):
        super().__init__()
        vector = widths(context, ("vector",), "Flow++")["vector"]
        self.first = nn.Conv2d(channels_in, width, 3, padding=1)
        self.vector = nn.Linear(vector, width, bias=False) if vector else None
        parts: list[nn.Module] = []
        for _ in range(blocks):
            parts += [GatedConv(width, dropout), nn.GroupNorm(1, width)]
            parts += [GatedAttention(width, heads, size), nn.GroupNorm(1, width)]
        self.blocks = nn.Sequential(*parts)
        self.last = zeroed(nn.Conv2d(width, channels_out, 3, padding=1))

    def forward(self, x: Maps, context: Context = NO_CONTEXT) -> Float[Tensor, "b c_out h w"]:
        h = self.first(x)
        if self.vector is not None:
            h = h + self.vector(context.vector)[:, :, None, None]
        return self.last(self.blocks(h))


class GatedConv(nn.Module):
    """h + a ⊙ sigmoid(b), with (a, b) from two convolutions of h."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)),
            *(nn.SiLU(), nn.Dropout(dropout), nn.Conv2d(width, 2 * width, 1)),
        )

    def forward(self, h: Maps) -> Maps:
        return h + F.glu(self.body(h), dim=1)


class GatedAttention(nn.Module):
    """h + a ⊙ sigmoid(b), with (a, b) from self-attention over all places, which have learned positions."""

    def __init__(self, width: int, heads: int, size: Sequence[int]):
        super().__init__()
        self.heads = heads
        self.positions = nn.Parameter(0.01 * torch.randn(width, *size))
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, 2 * width, 1)

    def forward(self, h: Maps) -> Maps:
        qkv = self.qkv(h + self.positions).flatten(2).unflatten(1, (3, self.heads, -1))
        q, k, v = qkv.transpose(3, 4).unbind(1)  # (b, heads, places, width/heads)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(h.shape)
        return h + F.glu(self.out(attended), dim=1)


def check_flowpp_settings(
    shape: Sequence[int], couplings: Sequence[int], width: int, heads: int
) -> tuple[int, int, int]:
    """(c, h, w); UserError for sides that are odd, other than three numbers of couplings, or a width without heads."""
    c, h, w = image_shape(shape, "Flow++")
    if h % 2 or w % 2:
        raise UserError(f"Flow++ got images of {h}x{w}, expected even sides, which halve once; choose other data")
    if len(couplings) != 3:
        raise UserError(
            f"Flow++ got couplings {list(couplings)}, expected 3 numbers: masks, channels, masks; change it"
        )
    if width % heads:
        raise UserError(f"Flow++ got width {width} for {heads} heads, expected a multiple of heads; change width")
    return c, h, w
