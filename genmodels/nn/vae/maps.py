"""Convolutional encoders and decoders whose codes are maps: for VQ-VAE, and for a VAE whose codes are the images of
another model (latent diffusion, Rombach et al. 2022, https://arxiv.org/abs/2112.10752).

Residual blocks between halvings of the resolution, as in `genmodels.nn.layers.convolution`.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context, Sizes, widths
from genmodels.errors import UserError
from genmodels.fields import image_shape
from genmodels.nn.layers.convolution import Doubling, halved, halving, norm, residual_blocks
from genmodels.nn.shapes import LatentMaps, Maps
from genmodels.nn.vae.encoders import Encoder
from genmodels.parts.likelihoods import PixelLikelihood
from genmodels.parts.posteriors import Posterior
from genmodels.ranges import NonNegativeInt, PositiveInt


class MapEncoder(nn.Module):
    """Images (b, c, h, w) on [-1, 1] to maps (b, channels, h', w')."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        channels: PositiveInt,  # of the maps
        width: PositiveInt,  # channels of the first level
        multipliers: Sequence[PositiveInt],  # channels / width after each halving
        blocks: NonNegativeInt,  # residual blocks after each halving
    ):
        super().__init__()
        shape = self.shape = image_shape(shape, "the encoder to maps")
        self.map_shape = (channels, *halved(shape[1:], len(multipliers))[-1])
        inner = [shape[0], *(width * m for m in multipliers)]
        stages = [nn.Sequential(halving(i, o), residual_blocks(o, blocks)) for i, o in pairwise(inner)]
        head = nn.Conv2d(inner[-1], channels, 3, padding=1)
        self.stages = nn.Sequential(*stages, norm(inner[-1]), nn.SiLU(), head)

    def forward(self, x: Maps) -> LatentMaps:
        return self.stages(x)


class MapDecoder(nn.Module):
    """Maps (b, channels, h', w') to the likelihood's parameters (b, kc, h, w)."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        channels: PositiveInt,  # of the maps
        width: PositiveInt,  # channels of the first level
        multipliers: Sequence[PositiveInt],  # channels / width before each doubling, in the encoder's order
        blocks: NonNegativeInt,  # residual blocks before each doubling
        likelihood: PixelLikelihood,  # says how many parameters an entry needs
    ):
        super().__init__()
        shape = image_shape(shape, "the decoder of maps")
        inner = [*(width * m for m in reversed(multipliers)), width]
        sizes = halved(shape[1:], len(multipliers))[::-1]  # smallest first, the image's last
        stages = [
            nn.Sequential(residual_blocks(i, blocks), Doubling(i, o, size, bias=True))
            for (i, o), size in zip(pairwise(inner), sizes[1:], strict=True)
        ]
        head = nn.Conv2d(width, likelihood.n_params * shape[0], 3, padding=1)
        stem = nn.Conv2d(channels, inner[0], 3, padding=1)
        self.stages = nn.Sequential(stem, *stages, norm(width), nn.SiLU(), head)

    def forward(self, z: LatentMaps) -> Maps:
        return self.stages(z)


class SpatialEncoder(Encoder):
    """Images (b, c, h, w) on [-1, 1] to the posterior's numbers (b, n, h', w') for codes (d/h'w', h', w')."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        latent_dim: PositiveInt,  # d, all entries of a code
        width: PositiveInt,  # channels of the first level
        multipliers: Sequence[PositiveInt],  # channels / width after each halving
        blocks: NonNegativeInt,  # residual blocks after each halving
        posterior: Posterior,  # says how many numbers it needs
        context: Sizes,
    ):
        super().__init__()
        widths(context, (), "the spatial encoder")
        self.latent_shape = code_shape(shape, latent_dim, len(multipliers))
        numbers, places = posterior.numbers(latent_dim), prod(self.latent_shape[1:])
        if numbers % places:
            raise UserError(
                f"the posterior takes {numbers} numbers, which cannot be laid out over the {places} places of a code; "
                "take model/posterior=gaussian, or model/encoder=conv"
            )
        self.maps = MapEncoder(
            shape=shape, channels=numbers // places, width=width, multipliers=multipliers, blocks=blocks
        )
        self.shape = self.maps.shape

    def forward(self, x: Maps, context: Context) -> LatentMaps:
        return self.maps(x)


class SpatialDecoder(nn.Module):
    """Codes (b, d), which are maps (d/h'w', h', w'), to the likelihood's parameters (b, kc, h, w)."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        latent_dim: PositiveInt,  # d, all entries of a code
        width: PositiveInt,  # channels of the first level
        multipliers: Sequence[PositiveInt],  # channels / width before each doubling, in the encoder's order
        blocks: NonNegativeInt,  # residual blocks before each doubling
        likelihood: PixelLikelihood,  # says how many parameters an entry needs
        context: Sizes,
    ):
        super().__init__()
        widths(context, (), "the spatial decoder")
        self.latent_shape = code_shape(shape, latent_dim, len(multipliers))
        self.maps = MapDecoder(
            shape=shape,
            channels=self.latent_shape[0],
            width=width,
            multipliers=multipliers,
            blocks=blocks,
            likelihood=likelihood,
        )

    def forward(self, z: Float[Tensor, "b d"], context: Context) -> Maps:
        return self.maps(z.unflatten(1, self.latent_shape))


def code_shape(shape: Sequence[int], latent_dim: int, halvings: int) -> tuple[int, int, int]:
    """(c, h', w') of a code with `latent_dim` entries, where h' and w' are the image's sides after the halvings."""
    h, w = halved(image_shape(shape, "a VAE with codes laid out in space")[1:], halvings)[-1]
    if latent_dim % (h * w):
        raise UserError(
            f"model.latent_dim is {latent_dim}, expected a multiple of the {h}x{w} places of a code; "
            f"set model.latent_dim={max(1, round(latent_dim / (h * w))) * h * w}"
        )
    return latent_dim // (h * w), h, w
