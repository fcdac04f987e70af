"""The U-Net of DDPM (Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239, appendix B)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import silu

from genmodels.context import Context
from genmodels.context import widths as context_widths
from genmodels.errors import UserError
from genmodels.nn.layers.attention import AttentionBlock
from genmodels.nn.layers.time_embedding import TimeEmbedding
from genmodels.nn.layers.unet import ALMOST_ZERO, Downsample, Upsample, conv3x3, group_norm, initialised
from genmodels.nn.shapes import Maps
from genmodels.ranges import PositiveInt, ProbabilityBelowOne


class UNetStage(nn.Module):
    """A residual block with the embedding as a second input, then optional attention."""

    def __init__(self, channels: int, out: int, *, attention: bool, emb: int, dropout: float, groups: int):
        super().__init__()
        self.norm1 = group_norm(channels, groups)
        self.conv1 = conv3x3(channels, out)
        self.emb = initialised(nn.Linear(emb, out))
        self.norm2 = group_norm(out, groups)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv3x3(out, out, gain=ALMOST_ZERO)
        self.shortcut = nn.Identity() if channels == out else initialised(nn.Conv2d(channels, out, 1))
        self.attention = AttentionBlock(out, groups) if attention else nn.Identity()

    def forward(self, x: Maps, emb: Float[Tensor, "b e"]) -> Float[Tensor, "b out h w"]:
        """(b, channels, h, w), (b, emb) -> (b, out, h, w)."""
        h = self.conv1(silu(self.norm1(x))) + self.emb(silu(emb))[:, :, None, None]
        h = self.conv2(self.dropout(silu(self.norm2(h))))
        return self.attention(self.shortcut(x) + h)


class UNet(nn.Module):
    """net(x, t, context): image and time to an image; one level per multiplier, each half the size of the previous.

    A context's vector is added to the time embedding; its maps, as large as the image, are extra input channels.
    Raises UserError if the image cannot be halved that often, or `width` is not an even number >= 4.
    """

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        width: PositiveInt,  # channels of the first level
        multipliers: Sequence[PositiveInt],  # channels / width of each level
        blocks: PositiveInt,  # residual blocks per level on the way down; one more on the way up
        attention_resolutions: Sequence[PositiveInt],  # heights at which every block is followed by attention
        dropout: ProbabilityBelowOne,  # probability that a feature of a block is dropped in training
        groups: PositiveInt,  # groups of group norm; fewer if one would have less than 4 channels
        context: Mapping[str, PositiveInt],  # widths of `vector` and `maps`; {}: unconditional
    ):
        super().__init__()
        check_unet_sizes(shape, width, len(multipliers))
        widths = [width * m for m in multipliers]
        attends = [shape[1] >> level in attention_resolutions for level in range(len(widths))]
        stage = partial(UNetStage, emb=4 * width, dropout=dropout, groups=groups)
        sizes = context_widths(context, ("vector", "maps"), "the U-Net")
        self.takes_maps = sizes["maps"] > 0
        self.embed = TimeEmbedding(width, 4 * width, sizes["vector"])
        self.inlet = conv3x3(shape[0] + sizes["maps"], width)
        self.down, skips = way_down(stage, width, widths, attends, blocks)
        inner = skips[-1]
        self.middle = nn.ModuleList([stage(inner, inner, attention=attention) for attention in (True, False)])
        self.up = way_up(stage, skips, widths, attends, blocks)
        self.upsample = nn.ModuleList([Upsample(out) for out in widths[:0:-1]] + [nn.Identity()])
        self.norm = group_norm(widths[0], groups)
        self.outlet = conv3x3(widths[0], shape[0], gain=ALMOST_ZERO)

    def forward(self, x: Maps, t: Shaped[Tensor, " b"], context: Context) -> Maps:
        """(b, c, h, w), times (b,) integer or not, and a context -> (b, c, h, w)."""
        emb = self.embed(t, context)
        if self.takes_maps:
            assert context.maps is not None
            x = torch.cat([x, context.maps.to(x.dtype)], dim=1)
        skips = [self.inlet(x)]
        for step in self.down:
            skips.append(step(skips[-1], emb))
        h = skips[-1]
        for stage in self.middle:
            h = stage(h, emb)
        for stages, upsample in zip(self.up, self.upsample, strict=True):
            for stage in stages:  # type: ignore[attr-defined]
                h = stage(torch.cat([h, skips.pop()], dim=1), emb)
            h = upsample(h)
        return self.outlet(silu(self.norm(h)))


def way_down(
    stage: Callable[..., UNetStage], width: int, widths: list[int], attends: list[bool], blocks: int
) -> tuple[nn.ModuleList, list[int]]:
    """Steps of the way down, and the widths of the skip connections: of the inlet and of each step."""
    steps, skips = nn.ModuleList(), [width]
    for level, (out, attention) in enumerate(zip(widths, attends, strict=True)):
        if level > 0:
            steps.append(Downsample(skips[-1]))
            skips.append(skips[-1])
        for _ in range(blocks):
            steps.append(stage(skips[-1], out, attention=attention))
            skips.append(out)
    return steps, skips


def way_up(
    stage: Callable[..., UNetStage], skips: list[int], widths: list[int], attends: list[bool], blocks: int
) -> nn.ModuleList:
    """Stages of each level of the way up, lowest level first; each stage has one of the `skips` as a second input."""
    levels, width, skips = nn.ModuleList(), skips[-1], list(skips)
    for out, attention in zip(reversed(widths), reversed(attends), strict=True):
        inputs = [width] + blocks * [out]
        levels.append(nn.ModuleList([stage(w + skips.pop(), out, attention=attention) for w in inputs]))
        width = out
    return levels


def check_unet_sizes(shape: Sequence[int], width: int, levels: int) -> None:
    """UserError for sizes that the U-Net cannot have."""
    factor = 2 ** (levels - 1)
    if len(shape) != 3 or shape[1] % factor or shape[2] % factor:
        raise UserError(
            f"the U-Net got data of shape {list(shape)} and {levels} multipliers, expected (c, h, w) with "
            f"h and w divisible by {factor}; take fewer multipliers or images of another size"
        )
    if width < 4 or width % 2:
        raise UserError(f"the U-Net got width={width}, expected an even number >= 4; change model.network.width")
