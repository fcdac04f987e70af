"""Two or more domains of unpaired images: datasets or folders of the same shape; the label is the domain.

A visible change (`change`) makes a domain from any dataset. Domains with the same source images each get different
ones, so that there are no pairs (as in Zhu et al. 2017, https://arxiv.org/abs/1703.10593).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, cast

import torch
from jaxtyping import UInt8
from numpy.random import RandomState
from torch import Tensor

from genmodels.data.base import Data, Split, Splits
from genmodels.data.transforms import random_flip
from genmodels.errors import UserError
from genmodels.fields import Field, SplitName
from genmodels.ranges import PositiveInt, TwoOrMore
from genmodels.trees import take

Change = Literal["none", "inverted", "rotated", "coloured"]
DomainImages = UInt8[Tensor, "n c h w"]


class Domain:
    """A dataset whose images are used unchanged or changed."""

    def __init__(
        self,
        *,
        source: Data,
        change: Change,  # inverted: light and dark swapped; rotated: by 90 degrees; coloured: each in one hue
    ):
        self.source = source
        self.change: Change = change

    def images(self, split: SplitName, numbers: slice, channels: int) -> DomainImages:
        """The images of a split with these numbers."""
        x = cast(Tensor, self.source.split(split).x)[numbers]
        x = x.expand(-1, channels, -1, -1) if x.shape[1] == 1 else x
        return CHANGES[self.change](x, cast(int, self.source.levels))


def are_images(source: Data) -> bool:
    """Whether its samples are images of integers."""
    return isinstance(source.x, Field) and source.x.kind == "image" and source.x.dtype == torch.uint8


def inverted(x: DomainImages, levels: int) -> DomainImages:
    return levels - 1 - x


def rotated(x: DomainImages, levels: int) -> DomainImages:
    return x.rot90(1, (2, 3))


def coloured(x: DomainImages, levels: int) -> DomainImages:
    """Each image in one fully saturated hue, a function of its number."""
    hue = torch.from_numpy(RandomState(0).rand(len(x), 1)) * 6
    offset = (hue + torch.tensor([0.0, 4.0, 2.0], dtype=torch.float64)) % 6  # red, green, blue
    tint = ((offset - 3).abs() - 1).clamp(0, 1)
    return (x * tint[:, :, None, None]).round().to(torch.uint8)


CHANGES: Mapping[str, Callable[[DomainImages, int], DomainImages]] = {
    "none": lambda x, levels: x,
    "inverted": inverted,
    "rotated": rotated,
    "coloured": coloured,
}


class Share(NamedTuple):
    """The part of a source's images that a domain gets: number `first` and every `of`-th after it."""

    first: int
    of: int


class Domains(Data):
    """Images of all domains in a fixed shuffled order; labels number the domains in their order."""

    def __init__(
        self,
        *,
        name: str,  # in tables, pictures and the names of runs
        shape: Sequence[PositiveInt],
        levels: TwoOrMore,
        classes: PositiveInt,  # the number of domains
        batch_size: PositiveInt,
        flip: bool,  # mirror each training image half of the time
        domains: Mapping[str, Domain],
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size)
        if classes != len(domains):
            n = len(domains)
            raise UserError(f"data.classes is {classes} and there are {n} domains; set data.classes={n}")
        self.flip = flip
        self.domains = domains
        for each, domain in domains.items():
            self._require_fit(each, domain)

    def _require_fit(self, name: str, domain: Domain) -> None:
        source, own = domain.source, [*domain.source.shape]
        widened = [self.shape[0], *own[1:]] if own[0] == 1 and self.shape[0] == 3 else own
        if widened != [*self.shape] or source.levels != self.levels or not are_images(source):
            raise UserError(
                f"the domain {name} has samples of shape {own} with levels={source.levels}, expected images of shape "
                f"{[*self.shape]} with levels={self.levels}; choose domains of the same shape"
            )
        if domain.change == "coloured" and self.shape[0] != 3:
            raise UserError(f"the domain {name} cannot be coloured in grey; set data.shape=[3,{own[1]},{own[2]}]")
        if domain.change == "rotated" and own[1] != own[2]:
            raise UserError(f"the domain {name} cannot be rotated: its images are {own[1]}x{own[2]}, expected a square")

    def read(self) -> Splits:
        for name, domain in self.domains.items():
            source = domain.source
            if source.training_split() is not source.split("train"):
                raise UserError(
                    f"the domain {name} has the source {source.name}, whose images change at every visit; "
                    "choose fixed images, such as binarize=none"
                )
        train, val, test = (self._mixed(split) for split in ("train", "val", "test"))
        return Splits(train, val, test, training=train)

    def _mixed(self, split: SplitName) -> Split:
        parts = [
            domain.images(split, slice(share.first, None, share.of), self.shape[0])
            for domain, share in zip(self.domains.values(), self._shares(), strict=True)
        ]
        y = torch.cat([torch.full((len(x),), number) for number, x in enumerate(parts)])
        order = torch.from_numpy(RandomState(0).permutation(len(y)))
        return Split(take(torch.cat(parts), order), {"label": take(y, order)})

    def _shares(self) -> list[Share]:
        """The share of each domain; domains with the same images divide them."""
        prints = [domain.source.fingerprint("train") for domain in self.domains.values()]
        return [Share(prints[:number].count(print_), prints.count(print_)) for number, print_ in enumerate(prints)]

    def transform(self, x: UInt8[Tensor, " b *shape"], generator: torch.Generator) -> UInt8[Tensor, " b *shape"]:
        return random_flip(x, generator) if self.flip else x
