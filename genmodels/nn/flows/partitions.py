"""How a coupling divides a sample into what it keeps, and gives to its network, and what it changes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import PerSample
from genmodels.nn.flows.bijections import Reals

Mask = Float[Tensor, "*shape"]  # 1: is kept; 0: is changed
Kept = Float[Tensor, "b *kept"]
Changed = Float[Tensor, "b *changed"]


class Partition(nn.Module, ABC):
    """Divides samples and puts them together again."""

    @abstractmethod
    def kept(self, x: Reals) -> Kept:
        """What the network sees."""

    @abstractmethod
    def changed(self, x: Reals) -> Changed:
        """The numbers that are changed, perhaps among others that `joined` and `total` ignore."""

    @abstractmethod
    def joined(self, x: Reals, changed: Changed) -> Reals:
        """What is kept of x, with the other numbers after their change."""

    @abstractmethod
    def total(self, each: Changed) -> PerSample:
        """The sum over the numbers that are changed."""


class Masked(Partition):
    """Keeps where the mask b is 1; the rest is 0 for the network."""

    b: Tensor

    def __init__(
        self,
        *,
        mask: Mask,  # b, in the shape of a sample
    ):
        super().__init__()
        self.register_buffer("b", mask, persistent=False)

    def kept(self, x: Reals) -> Kept:
        return self.b * x

    def changed(self, x: Reals) -> Changed:
        return x

    def joined(self, x: Reals, changed: Changed) -> Reals:
        return torch.where(self.b > 0, x, changed)

    def total(self, each: Changed) -> PerSample:
        return ((1 - self.b) * each).flatten(1).sum(1)


class Halves(Partition):
    """Keeps the first half of the channels, or coordinates, rounded down, and changes the rest."""

    def kept(self, x: Reals) -> Kept:
        return x[:, : x.shape[1] // 2]

    def changed(self, x: Reals) -> Changed:
        return x[:, x.shape[1] // 2 :]

    def joined(self, x: Reals, changed: Changed) -> Reals:
        return torch.cat([self.kept(x), changed], dim=1)

    def total(self, each: Changed) -> PerSample:
        return each.flatten(1).sum(1)


class EveryOther(Partition):
    """Keeps the entries of one parity of a vector, and changes the others."""

    def __init__(
        self,
        *,
        parity: int,  # 0: keeps the first entry, the third, ...; 1: the second, ...
    ):
        super().__init__()
        self.parity = parity

    def kept(self, x: Reals) -> Kept:
        return x[:, self.parity :: 2]

    def changed(self, x: Reals) -> Changed:
        return x[:, 1 - self.parity :: 2]

    def joined(self, x: Reals, changed: Changed) -> Reals:
        joined = x.clone()
        joined[:, 1 - self.parity :: 2] = changed
        return joined

    def total(self, each: Changed) -> PerSample:
        return each.sum(1)


def checkerboard_mask(shape: Sequence[int], parity: int) -> Mask:
    """1 where (row + column + parity) is odd; for points (d,), where (coordinate + parity) is odd."""
    place = sum(torch.meshgrid(*(torch.arange(n) for n in shape[-2:]), indexing="ij"), start=torch.tensor(parity))
    return (place % 2).float().expand(*shape).clone()


def channel_mask(shape: Sequence[int], parity: int) -> Mask:
    """1 on the first half of the channels (parity 0) or the second half (parity 1)."""
    first = torch.arange(shape[0]) < shape[0] // 2
    half = first if parity == 0 else ~first
    return half.float().view(-1, *[1] * (len(shape) - 1)).expand(*shape).clone()
