"""Generator and discriminator of DCGAN (Radford et al. 2016, https://arxiv.org/abs/1511.06434), for
images of any size. In the generator a condition's vector is concatenated with z; a one-hot label is at first weaker
than z, since one as strong as z leads to a collapse to one image per class. In the discriminator the condition enters
by projection (Miyato & Koyama 2018, https://arxiv.org/abs/1802.05637)."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import PerSample
from genmodels.context import Context, Sizes, widths
from genmodels.errors import UserError
from genmodels.fields import image_shape
from genmodels.nn.layers.batch_norm import BatchNorm2d
from genmodels.nn.layers.convolution import Doubling, halved
from genmodels.parts.conditioners import join
from genmodels.ranges import NonNegativeInt, PositiveInt


class DCGANGenerator(nn.Module):
    """Codes (b, d) and a context's vector to images (b, c, h, w) on (-1, 1)."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        latent_dim: PositiveInt,  # d
        width: PositiveInt,  # channels before the last doubling; twice as many before each earlier one
        halvings: NonNegativeInt,  # of the image's resolution, at which it starts
        context: Sizes,  # of the condition
    ):
        super().__init__()
        image_shape(shape, "DCGAN's generator")
        channels = [*(width * 2**i for i in reversed(range(halvings))), shape[0]]
        sizes = halved(shape[1:], halvings)[::-1]  # smallest first, the image's last
        self.start = (channels[0], *sizes[0])
        vector = widths(context, ("vector",), "DCGAN's generator")["vector"]
        self.stem = nn.Linear(latent_dim + vector, prod(self.start))
        layers = [
            nn.Sequential(BatchNorm2d(i), nn.ReLU(), Doubling(i, o, size, bias=size == sizes[-1]))
            for (i, o), size in zip(pairwise(channels), sizes[1:], strict=True)
        ]  # a bias before batch norm has no effect
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.apply(init_normal)

    def forward(self, z: Float[Tensor, "b d"], context: Context) -> Float[Tensor, "b c h w"]:
        return self.layers(self.stem(join(z, context)).unflatten(1, self.start))


class DCGANDiscriminator(nn.Module):
    """Images (b, c, h, w) on [-1, 1] and a context's vector to logits (b,)."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        width: PositiveInt,  # channels after the first halving; each further halving doubles them
        halvings: PositiveInt,  # of the resolution
        normalization: Literal["batch", "none"],  # must be none with a gradient penalty
        context: Sizes,  # of the condition
    ):
        super().__init__()
        image_shape(shape, "DCGAN's discriminator")
        size = [n // 2**halvings for n in shape[1:]]
        if min(size) < 1:
            raise UserError(
                f"DCGAN's discriminator got {halvings} halvings, which leave nothing of {shape[1]}x{shape[2]} images; "
                "give a smaller model.discriminator.halvings"
            )
        channels = [shape[0], *(width * 2**i for i in range(halvings))]
        normalized = [False] + [normalization == "batch"] * (halvings - 1)  # never the first layer
        layers = [halving_layer(i, o, norm) for (i, o), norm in zip(pairwise(channels), normalized, strict=True)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1] * prod(size), 1)
        vector = widths(context, ("vector",), "DCGAN's discriminator")["vector"]
        self.projection = nn.Linear(vector, channels[-1], bias=False) if vector else None
        self.apply(init_normal)

    def forward(self, x: Float[Tensor, "b c h w"], context: Context) -> PerSample:
        h = self.layers(x)  # (b, width * 2**(halvings - 1), h/2**halvings, w/2**halvings)
        logit = self.head(h.flatten(1)).squeeze(1)
        if self.projection is not None:
            assert context.vector is not None
            logit = logit + (self.projection(context.vector) * h.sum((2, 3))).sum(1)
        return logit


def halving_layer(c_in: int, c_out: int, batch_norm: bool) -> nn.Sequential:
    """Convolution to half the size, rounded down, then leaky ReLU."""
    convolution = nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=not batch_norm)
    return nn.Sequential(convolution, BatchNorm2d(c_out) if batch_norm else nn.Identity(), nn.LeakyReLU(0.2))


@torch.no_grad()
def init_normal(module: nn.Module) -> None:
    """Weights from N(0, 0.02²), for batch norm from N(1, 0.02²); biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        module.weight.normal_(0, 0.02)
    if isinstance(module, nn.BatchNorm2d):
        module.weight.normal_(1, 0.02)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.BatchNorm2d) and module.bias is not None:
        module.bias.zero_()
