"""Convolutional encoder and decoder for images of any size, with residual blocks (He et al. 2016,
https://arxiv.org/abs/1603.05027) between halvings of the resolution."""

from collections.abc import Sequence
from itertools import pairwise
from math import gcd, prod

from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context, Sizes, widths
from genmodels.fields import image_shape
from genmodels.nn.encoders import Encoder
from genmodels.nn.likelihoods import PixelLikelihood
from genmodels.parts.conditioners import join
from genmodels.parts.posteriors import Posterior
from genmodels.ranges import NonNegativeInt, PositiveInt

Features = Float[Tensor, "b c h w"]


class ConvEncoder(Encoder):
    """Images (b, c, h, w) on [-1, 1], and a context, to the posterior's numbers, (b, n)."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        latent_dim: PositiveInt,  # d
        width: PositiveInt,  # channels of the first level
        multipliers: Sequence[PositiveInt],  # channels / width after each halving
        blocks: NonNegativeInt,  # residual blocks after each halving
        posterior: Posterior,  # says how many numbers it needs
        context: Sizes,
    ):
        super().__init__()
        shape = self.shape = image_shape(shape, "the convolutional encoder")
        self.latent_shape = (latent_dim,)
        told = widths(context, ("vector",), "the convolutional encoder")["vector"]
        channels = [shape[0], *(width * m for m in multipliers)]
        self.stem = halving(channels[0], channels[1])
        stages = [residual_blocks(channels[1], blocks)]
        stages += [nn.Sequential(halving(i, o), residual_blocks(o, blocks)) for i, o in pairwise(channels[1:])]
        self.stages = nn.Sequential(*stages, norm(channels[-1]), nn.SiLU(), nn.Flatten())
        entries = channels[-1] * prod(halved(shape[1:], len(multipliers))[-1])
        self.head = nn.Linear(entries, posterior.numbers(latent_dim))
        self.told = nn.Linear(told, channels[1], bias=False) if told else None

    def forward(self, x: Features, context: Context) -> Float[Tensor, "b n"]:
        h = self.stem(x)  # (b, width, h/2, w/2)
        if self.told is not None:
            h = h + self.told(context.vector)[:, :, None, None]
        return self.head(self.stages(h))


class ConvDecoder(nn.Module):
    """Codes (b, d), and a context, to the likelihood's parameters (b, kc, h, w)."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        latent_dim: PositiveInt,  # d
        width: PositiveInt,  # channels of the first level
        multipliers: Sequence[PositiveInt],  # channels / width before each doubling, in the encoder's order
        blocks: NonNegativeInt,  # residual blocks before each doubling
        likelihood: PixelLikelihood,  # says how many parameters an entry needs
        context: Sizes,
    ):
        super().__init__()
        shape = image_shape(shape, "the convolutional decoder")
        told = widths(context, ("vector",), "the convolutional decoder")["vector"]
        channels = [*(width * m for m in reversed(multipliers)), width]
        sizes = halved(shape[1:], len(multipliers))[::-1]  # smallest first, the image's last
        self.start = (channels[0], *sizes[0])
        self.stem = nn.Linear(latent_dim + told, prod(self.start))
        stages = [
            nn.Sequential(residual_blocks(i, blocks), Doubling(i, o, size, bias=True))
            for (i, o), size in zip(pairwise(channels), sizes[1:], strict=True)
        ]
        head = nn.Conv2d(width, likelihood.n_params * shape[0], 3, padding=1)
        self.stages = nn.Sequential(*stages, norm(width), nn.SiLU(), head)

    def forward(self, z: Float[Tensor, "b d"], context: Context) -> Features:
        return self.stages(self.stem(join(z, context)).unflatten(1, self.start))


class ResidualBlock(nn.Module):
    """h + f(h), with f two normalized 3x3 convolutions."""

    def __init__(self, channels: int):
        super().__init__()
        layers = [[norm(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)] for _ in range(2)]
        self.layers = nn.Sequential(*layers[0], *layers[1])

    def forward(self, h: Features) -> Features:
        return h + self.layers(h)


class Doubling(nn.Module):
    """Transposed convolution to twice the size, cut to `size`, which is odd where the halving rounded up."""

    def __init__(self, c_in: int, c_out: int, size: Sequence[int], *, bias: bool):
        super().__init__()
        self.size = size
        self.conv = nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1, bias=bias)

    def forward(self, h: Features) -> Float[Tensor, "b c_out h_out w_out"]:
        return self.conv(h)[:, :, : self.size[0], : self.size[1]]


def halving(c_in: int, c_out: int) -> nn.Conv2d:
    """Convolution to half the size, rounded up."""
    return nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)


def halved(size: Sequence[int], times: int) -> list[tuple[int, int]]:
    """(h, w), its half rounded up, the half of that, ...: `times` + 1 sizes."""
    return [(-(-size[0] // 2**i), -(-size[1] // 2**i)) for i in range(times + 1)]


def residual_blocks(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(gcd(channels, 8), channels)
