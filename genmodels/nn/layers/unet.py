"""Layers of the DDPM U-Net (Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239), initialised as in the paper."""

from typing import TypeVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

ConvOrLinear = TypeVar("ConvOrLinear", nn.Conv2d, nn.Linear)

ALMOST_ZERO = 1e-5  # gain of the last layer of a residual branch: it starts near 0, but gradients pass


def initialised(layer: ConvOrLinear, gain: float = 1.0) -> ConvOrLinear:
    """Weights uniform with variance gain²/fan_avg (Glorot & Bengio 2010), biases 0; returns the layer."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def conv3x3(channels: int, out: int, gain: float = 1.0) -> nn.Conv2d:
    """3x3 convolution, (b, channels, h, w) -> (b, out, h, w)."""
    return initialised(nn.Conv2d(channels, out, 3, padding=1), gain)


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """Group norm with the largest number of groups up to `groups` for which each has at least 4 of the `channels`.

    A group of one channel would remove what the time embedding adds to it, so the time would be lost.
    """
    fitting = [g for g in range(1, groups + 1) if channels % g == 0 and channels // g >= 4]
    return nn.GroupNorm(max(fitting, default=1), channels, eps=1e-6)


class Downsample(nn.Module):
    """Halves height and width by a strided convolution. Called like a stage, but ignores the embedding."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = initialised(nn.Conv2d(channels, channels, 3, stride=2))

    def forward(self, x: Float[Tensor, "b c h w"], emb: Float[Tensor, "b e"]) -> Float[Tensor, "b c h2 w2"]:
        """(b, c, h, w) -> (b, c, h/2, w/2); padded with zeros right and below, as in the original code."""
        return self.conv(pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles height and width by nearest-neighbour upsampling, then a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = conv3x3(channels, channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """(b, c, h, w) -> (b, c, 2h, 2w)."""
        return self.conv(interpolate(x, scale_factor=2, mode="nearest"))
