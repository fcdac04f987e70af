"""Residual blocks (He et al. 2016, https://arxiv.org/abs/1603.05027), and convolutions that halve and double the
resolution of images of any size."""

from collections.abc import Sequence
from math import gcd

from jaxtyping import Float
from torch import Tensor, nn

from genmodels.nn.shapes import Maps


class ResidualBlock(nn.Module):
    """h + f(h), where f is two normalized 3x3 convolutions."""

    def __init__(self, channels: int):
        super().__init__()
        layers = [[norm(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)] for _ in range(2)]
        self.layers = nn.Sequential(*layers[0], *layers[1])

    def forward(self, h: Maps) -> Maps:
        return h + self.layers(h)


class Doubling(nn.Module):
    """Transposed convolution to twice the size, cropped to `size`, which is odd if the halving rounded up."""

    def __init__(self, c_in: int, c_out: int, size: Sequence[int], *, bias: bool):
        super().__init__()
        self.size = size
        self.conv = nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1, bias=bias)

    def forward(self, h: Maps) -> Float[Tensor, "b c_out h_out w_out"]:
        return self.conv(h)[:, :, : self.size[0], : self.size[1]]


def halving(c_in: int, c_out: int) -> nn.Conv2d:
    """Convolution to half the size, rounded up."""
    return nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)


def halved(size: Sequence[int], times: int) -> list[tuple[int, int]]:
    """`size`, then its halves, each rounded up: `times` + 1 sizes."""
    return [(-(-size[0] // 2**i), -(-size[1] // 2**i)) for i in range(times + 1)]


def residual_blocks(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(gcd(channels, 8), channels)
