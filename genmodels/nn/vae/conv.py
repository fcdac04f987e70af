"""Convolutional encoder and decoder for images of any size, with residual blocks (He et al. 2016,
https://arxiv.org/abs/1603.05027) between halvings of the resolution."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context, Sizes, widths
from genmodels.fields import image_shape
from genmodels.nn.layers.convolution import Doubling, halved, halving, norm, residual_blocks
from genmodels.nn.shapes import Maps
from genmodels.nn.vae.encoders import Encoder
from genmodels.parts.conditioners import join
from genmodels.parts.likelihoods import PixelLikelihood
from genmodels.parts.posteriors import Posterior
from genmodels.ranges import NonNegativeInt, PositiveInt


class ConvEncoder(Encoder):
    """Images (b, c, h, w) on [-1, 1] and a context to the posterior's numbers, (b, n)."""

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
        vector = widths(context, ("vector",), "the convolutional encoder")["vector"]
        channels = [shape[0], *(width * m for m in multipliers)]
        self.stem = halving(channels[0], channels[1])
        stages = [residual_blocks(channels[1], blocks)]
        stages += [nn.Sequential(halving(i, o), residual_blocks(o, blocks)) for i, o in pairwise(channels[1:])]
        self.stages = nn.Sequential(*stages, norm(channels[-1]), nn.SiLU(), nn.Flatten())
        entries = channels[-1] * prod(halved(shape[1:], len(multipliers))[-1])
        self.head = nn.Linear(entries, posterior.numbers(latent_dim))
        self.told = nn.Linear(vector, channels[1], bias=False) if vector else None

    def forward(self, x: Maps, context: Context) -> Float[Tensor, "b n"]:
        h = self.stem(x)  # (b, width, h/2, w/2)
        if self.told is not None:
            h = h + self.told(context.vector)[:, :, None, None]
        return self.head(self.stages(h))


class ConvDecoder(nn.Module):
    """Codes (b, d) and a context to the likelihood's parameters (b, kc, h, w)."""

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
        vector = widths(context, ("vector",), "the convolutional decoder")["vector"]
        channels = [*(width * m for m in reversed(multipliers)), width]
        sizes = halved(shape[1:], len(multipliers))[::-1]  # smallest first, the image's last
        self.start = (channels[0], *sizes[0])
        self.stem = nn.Linear(latent_dim + vector, prod(self.start))
        stages = [
            nn.Sequential(residual_blocks(i, blocks), Doubling(i, o, size, bias=True))
            for (i, o), size in zip(pairwise(channels), sizes[1:], strict=True)
        ]
        head = nn.Conv2d(width, likelihood.n_params * shape[0], 3, padding=1)
        self.stages = nn.Sequential(*stages, norm(width), nn.SiLU(), head)

    def forward(self, z: Float[Tensor, "b d"], context: Context) -> Maps:
        return self.stages(self.stem(join(z, context)).unflatten(1, self.start))
