"""Orders in which the entries of a sample come, for networks that can have any (MADE, NADE).

Entries are numbered in raster order, those of a pixel by channel, and tokens from the first to the last.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from genmodels.errors import UserError
from genmodels.nn.layers.masked_mlp import require_permutation
from genmodels.ranges import NonNegativeInt
from genmodels.seeds import fold

Permutation = Int[Tensor, " d"]


class EntryOrder(ABC):
    """A permutation of the entries' numbers, for each of the masks that a network has."""

    @abstractmethod
    def permutation(self, d: int, mask: int) -> Permutation:
        """The entries 0..d-1, first to last, for mask number `mask`."""


class Natural(EntryOrder):
    """0, 1, ..., d-1 for every mask."""

    def permutation(self, d: int, mask: int) -> Permutation:
        return torch.arange(d)


class Reversed(EntryOrder):
    """d-1, ..., 1, 0 for every mask."""

    def permutation(self, d: int, mask: int) -> Permutation:
        return torch.arange(d).flip(0)


class Shuffled(EntryOrder):
    """A random permutation, another one for each mask; a pure function of the seed, of d and of the mask's number."""

    def __init__(
        self,
        *,
        seed: NonNegativeInt,  # another seed gives other permutations
    ):
        self.seed = seed

    def permutation(self, d: int, mask: int) -> Permutation:
        return torch.randperm(d, generator=torch.Generator().manual_seed(fold(self.seed, mask)))


class Written(EntryOrder):
    """A permutation that is written out, the same for every mask; UserError if it is none of the sample's entries."""

    def __init__(
        self,
        *,
        entries: Sequence[NonNegativeInt],  # first to last
    ):
        require_permutation(entries)
        self.entries = entries

    def permutation(self, d: int, mask: int) -> Permutation:
        if len(self.entries) != d:
            raise UserError(f"the order has {len(self.entries)} entries and a sample has {d}, expected each one once")
        return torch.tensor(self.entries)
