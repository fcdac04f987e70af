"""Handwritten digits, 8x8, 17 grey levels: 1797 real scans that come with scikit-learn, no download.

They are the test part of the UCI set (Alpaydin & Kaynak 1998, https://doi.org/10.24432/C50P49): counts 0..16 of ink
in 4x4 blocks of 32x32 bitmaps. The official order goes by writer, so `split_seed` chooses test and validation images
at random: with 300 and 200 of them, 1297 are left for training.
"""

from collections.abc import Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor

from genmodels.data.base import Data, Splits, check_official, hold_out, labelled
from genmodels.data.transforms import random_flip
from genmodels.ranges import NonNegativeInt, PositiveInt, TwoOrMore


class Digits(Data):
    """scikit-learn's digits: uint8 (1, 8, 8) in 0..16, labels 0..9."""

    def __init__(
        self,
        *,
        name: str,  # in tables, pictures and the names of runs
        shape: Sequence[PositiveInt],
        levels: TwoOrMore,
        classes: PositiveInt,
        batch_size: PositiveInt,
        flip: bool,  # mirror each training image half of the time
        n_validation: NonNegativeInt,  # samples held out of those for training
        n_test: NonNegativeInt,  # samples held out for the test
        split_seed: NonNegativeInt,
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size)
        self.flip = flip
        self.n_validation = n_validation
        self.n_test = n_test
        self.split_seed = split_seed

    def read(self) -> Splits:
        from sklearn.datasets import load_digits  # heavy

        digits = load_digits()
        x = torch.from_numpy(digits.images).to(torch.uint8)[:, None]  # (n, 1, 8, 8)
        every = labelled(x, torch.from_numpy(digits.target).long())
        check_official(every, self.levels, self.classes, self.name)
        rest, test = hold_out(every, self.n_test, self.split_seed, "n_test")
        train, val = hold_out(rest, self.n_validation, self.split_seed, "n_validation")
        return Splits(train, val, test, training=train)

    def transform(self, x: UInt8[Tensor, " b *shape"], generator: torch.Generator) -> UInt8[Tensor, " b *shape"]:
        return random_flip(x, generator) if self.flip else x
