"""Layers of the DDPM U-Net (Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239), initialised as there."""

from typing import TypeVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)

ALMOST_ZERO = 1e-5  # gain of a residual branch's last layer: the branch starts near 0, yet gradients pass


def initialised(layer: Layer, gain: float = 1.0) -> Layer:
    """Weights uniform with variance gain²/fan_avg (Glorot & Bengio 2010), biases 0; returns the layer."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def conv3x3(channels: int, out: int, gain: float = 1.0) -> nn.Conv2d:
    """3x3 convolution, (b, channels, h, w) -> (b, out, h, w)."""
    return initialised(nn.Conv2d(channels, out, 3, padding=1), gain)


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """Group norm with the largest number of groups up to `groups` that divides `channels` into 4 or more each.

    A group of one channel would take away what the time embedding adds to that channel, and with it the time.
    """
    fitting = [g for g in range(1, groups + 1) if channels % g == 0 and channels // g >= 4]
    return nn.GroupNorm(max(fitting, default=1), channels, eps=1e-6)


class Downsample(nn.Module):
    """Halves height and width by a strided convolution; called like a stage, it ignores the embedding."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = initialised(nn.Conv2d(channels, channels, 3, stride=2))

    def forward(self, x: Float[Tensor, "b c h w"], emb: Float[Tensor, "b e"]) -> Float[Tensor, "b c h2 w2"]:
        """(b, c, h, w) -> (b, c, h/2, w/2); the zeros go right and below, as the original pads."""
        return self.conv(pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles height and width: nearest neighbour, then a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = conv3x3(channels, channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        """(b, c, h, w) -> (b, c, 2h, 2w)."""
        return self.conv(interpolate(x, scale_factor=2, mode="nearest"))
