"""Generator and discriminator of CycleGAN (Zhu et al. 2017, https://arxiv.org/abs/1703.10593, section 7.2), for images
of any size, and the pool of earlier fakes for the discriminator (Shrivastava et al. 2017,
https://arxiv.org/abs/1612.07828, section 2.3)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from genmodels.errors import UserError
from genmodels.fields import image_shape
from genmodels.gathering import in_global_order, share_of_this_process
from genmodels.nn.gan.dcgan import init_normal
from genmodels.nn.layers.convolution import Doubling, halved, halving
from genmodels.nn.shapes import Maps
from genmodels.ranges import NonNegativeInt, PositiveInt


class ResNetGenerator(nn.Module):
    """Images on [-1, 1] to images on (-1, 1): halvings, residual blocks and as many doublings, with instance norm."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        width: PositiveInt,  # channels at full resolution; each halving doubles them
        halvings: NonNegativeInt,  # of the resolution
        blocks: PositiveInt,  # residual blocks at the lowest resolution
    ):
        super().__init__()
        c, h, w = image_shape(shape, "CycleGAN's generator")
        sizes = halved((h, w), halvings)
        if min(sizes[-1]) < 2 or min(h, w) < 4:
            raise UserError(
                f"CycleGAN's generator got {halvings} halvings, which leave less than 2x2 of {h}x{w} images; give a "
                "smaller model.to_first.halvings"
            )
        channels = [width * 2**i for i in range(halvings + 1)]
        down = [nn.Sequential(halving(i, o), *normalized(o)) for i, o in pairwise(channels)]
        middle = [ResNetBlock(channels[-1]) for _ in range(blocks)]
        up = [
            nn.Sequential(Doubling(i, o, size, bias=True), *normalized(o))
            for (i, o), size in zip(pairwise(channels[::-1]), sizes[-2::-1], strict=True)
        ]
        first, last = padded(c, width, 7), padded(width, c, 7)
        self.layers = nn.Sequential(*first, *normalized(width), *down, *middle, *up, *last, nn.Tanh())
        self.apply(init_normal)

    def forward(self, x: Maps) -> Maps:
        return self.layers(x)


class PatchDiscriminator(nn.Module):
    """Images (b, c, h, w) on [-1, 1] to one logit per overlapping patch, (b, h/2**halvings, w/2**halvings)."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        width: PositiveInt,  # channels after the first halving; each further halving doubles them
        halvings: NonNegativeInt,  # of the resolution; more make the patches larger
    ):
        super().__init__()
        c, h, w = image_shape(shape, "CycleGAN's discriminator")
        if min(h, w) // 2**halvings < 2:
            raise UserError(
                f"CycleGAN's discriminator got {halvings} halvings, which leave less than 2x2 of {h}x{w} images; give "
                "a smaller model.of_first.halvings"
            )
        channels = [c, *(width * 2**i for i in range(halvings))]
        layers: list[nn.Module] = []
        for number, (i, o) in enumerate(pairwise(channels)):
            norm = nn.InstanceNorm2d(o) if number else nn.Identity()  # the first layer has none
            layers += [nn.Conv2d(i, o, 4, stride=2, padding=1), norm, nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 3, padding=1))
        self.apply(init_normal)

    def forward(self, x: Maps) -> Float[Tensor, "b rows columns"]:
        return self.layers(x).squeeze(1)


class ResNetBlock(nn.Module):
    """h + f(h), where f is two 3x3 convolutions with instance norm."""

    def __init__(self, channels: int):
        super().__init__()
        first, second = (padded(channels, channels, 3) for _ in range(2))
        self.layers = nn.Sequential(*first, *normalized(channels), *second, nn.InstanceNorm2d(channels))

    def forward(self, h: Maps) -> Maps:
        return h + self.layers(h)


def padded(c_in: int, c_out: int, kernel: int) -> list[nn.Module]:
    """A convolution that keeps the size, with reflection padding."""
    return [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(c_in, c_out, kernel)]


def normalized(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU()]


class Pool(nn.Module):
    """Up to `size` earlier images. It returns each new image; once it is full, it returns with probability 1/2 an
    earlier image instead and stores the new one in its place.

    All processes have the same pool, as if one process had all images. If two images of a batch would take the same
    place, the first one does. In eval mode every image is returned unchanged.
    """

    images: Tensor  # (size, c, h, w)
    filled: Tensor  # int64 (), number of images stored

    def __init__(self, shape: Sequence[int], size: int):
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.zeros(size, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, x: Maps, ours: Bool[Tensor, " b"]) -> Maps:
        """(b, c, h, w) to the same shape; images that are not `ours` are returned unchanged and not stored."""
        if not self.training or not self.size:
            return x
        draws = torch.rand(len(x), 2, device=x.device)
        x, ours, draws = in_global_order(x.detach()), in_global_order(ours), in_global_order(draws)
        place = self.filled + ours.cumsum(0) - 1  # in the order in which they come
        fills = ours & (place < self.size)
        chosen = (draws[:, 0] * self.size).long()
        swaps = ours & ~fills & (draws[:, 1] < 0.5) & (self.filled == self.size)
        swaps &= ~((chosen[:, None] == chosen) & swaps).tril(-1).any(1)  # an earlier image takes that place
        out = torch.where(swaps[:, None, None, None], self.images[chosen], x.to(self.images))
        to = torch.where(fills, place, torch.where(swaps, chosen, self.size))
        self.images.copy_(torch.cat([self.images, self.images[:1]]).index_copy(0, to, x.to(self.images))[: self.size])
        self.filled.add_(fills.sum())
        return share_of_this_process(out)
