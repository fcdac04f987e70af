"""What a dataset is: three fixed splits in its own units, and what training does to a batch at every visit.

The splits hold the stored integers (or float32 points) in a fixed order and are never augmented: evaluators score
them, count them and take their fingerprint. Training draws batches from `training_split()` and passes each through
`transform`, which flips or binarizes anew at every visit.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from numpy.random import RandomState
from torch import Tensor

from genmodels.errors import UserError

SplitName = Literal["train", "val", "test"]
ROWS = 1024  # samples of which a fingerprint is taken at a time


class Split(NamedTuple):
    """Samples and their labels, on the CPU; `x` may lie in a memory-mapped file."""

    x: Tensor  # (n, c, h, w) uint8 in 0..levels-1, or (n, d) float32
    y: Tensor | None  # (n,) int64 in 0..classes-1; None: without labels


class Splits(NamedTuple):
    """What a source reads: the three splits in data units, and what training draws from."""

    train: Split
    val: Split
    test: Split
    training: Split  # `transform` of it is in data units; the same object as `train` unless `transform` changes units


class Data(ABC):
    """A dataset. Nothing is read before the first split is asked for; then everything is, once, or memory-mapped."""

    def __init__(
        self,
        *,
        name: str,
        shape: Sequence[int],  # of a sample: (c, h, w) or (d,)
        levels: int | None,  # values an entry can take, 0..levels-1; None: continuous
        classes: int | None,  # labels are 0..classes-1; None: none are used
        batch_size: int,  # global: over all devices and accumulation
    ):
        if batch_size < 1:
            raise UserError(f"data.batch_size is {batch_size}, expected at least 1; give a positive number")
        self.name = name
        self.shape = tuple(shape)
        self.levels = levels
        self.classes = classes
        self.batch_size = batch_size

    @property
    def prepared(self) -> str | None:
        """What was done to the images of the source, for the protocol of results; None: they are as published."""
        return None

    @abstractmethod
    def read(self) -> Splits:
        """All splits, read anew. Raises UserError where a file is missing, broken or not what was declared."""

    @abstractmethod
    def transform(self, x: Shaped[Tensor, "b *shape"], generator: torch.Generator) -> Shaped[Tensor, "b *shape"]:
        """A batch of `training_split()` as training sees it this time: in data units, on the device of `x`.

        Its random numbers come from `generator`, which lives on that device.
        """

    def split(self, name: SplitName) -> Split:
        """A whole split in data units, always the same; "val" is a fixed part of the official training data."""
        split: Split = getattr(self._splits, name)
        if len(split.x) == 0:
            key = "n_test" if name == "test" else "n_validation"
            raise UserError(f"the {name} split of {self.name} is empty, expected samples; set data.{key} above 0")
        return split

    def training_split(self) -> Split:
        """What training draws from, to be passed through `transform` at every visit."""
        return self._splits.training

    def fingerprint(self, name: SplitName) -> str:
        """sha256 (hex) over dtype, shape and bytes of the split's `x` and `y`."""
        return fingerprint_of(self.split(name))

    @cached_property
    def _splits(self) -> Splits:
        splits = self.read()
        for split in (splits.train, splits.val, splits.test):
            check_values(split.x, self.shape, self.levels, self.name)
            check_labels(split.y, self.classes, self.name)
        return splits


def fingerprint_of(split: Split) -> str:
    """See `Data.fingerprint`; a memory-mapped split is read a part at a time."""
    digest = hashlib.sha256()
    for values in split:
        array = np.zeros(0) if values is None else values.numpy()
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        for start in range(0, len(array), ROWS):
            digest.update(np.ascontiguousarray(array[start : start + ROWS]).data)
    return digest.hexdigest()


def hold_out(split: Split, n: int, seed: int) -> tuple[Split, Split]:
    """The split without `n` of its samples, and those, chosen by `seed`; both keep the split's order."""
    held = torch.from_numpy(held_out(len(split.x), n, seed))
    return take(split, torch.nonzero(~held).flatten()), take(split, torch.nonzero(held).flatten())


def held_out(of: int, n: int, seed: int) -> Bool[np.ndarray, "of"]:
    """Which `n` of so many samples `seed` chooses.

    NumPy's RandomState, whose stream is frozen, so that the choice never changes.
    """
    if not 0 <= n < of:
        raise UserError(
            f"cannot hold out {n} of {of} samples, expected 0 or more, and fewer; correct data.n_validation"
        )
    chosen = np.zeros(of, bool)
    chosen[RandomState(seed).permutation(of)[:n]] = True
    return chosen


def take(split: Split, index: Int[Tensor, "k"]) -> Split:
    """The samples of a split at `index`."""
    return Split(split.x[index], None if split.y is None else split.y[index])


def check_values(x: Tensor, shape: Sequence[int], levels: int | None, name: str) -> None:
    """UserError unless the samples have this shape, dtype and range."""
    dtype = torch.float32 if levels is None else torch.uint8
    if tuple(x.shape[1:]) != tuple(shape):
        raise UserError(f"{name} has samples of shape {list(x.shape[1:])}, expected {list(shape)}; correct data.shape")
    if x.dtype != dtype:
        raise UserError(f"{name} has {x.dtype} values, expected {dtype} for levels={levels}; correct data.levels")
    if levels is not None and levels < 256 and x.numel() and int(x.max()) >= levels:
        raise UserError(f"{name} has values up to {x.max()}, expected 0..{levels - 1}; correct data.levels")
    if levels is None and not x.isfinite().all():
        raise UserError(f"{name} has values that are not finite, expected numbers; remove them from the file")


def check_labels(y: Tensor | None, classes: int | None, name: str) -> None:
    """UserError unless there are labels exactly where there are classes, all of them in range."""
    if (y is None) != (classes is None):
        found = "no labels" if y is None else "labels"
        raise UserError(f"{name} has {found}, expected what classes={classes} says; correct data.classes")
    if y is None or classes is None or not y.numel():
        return
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise UserError(f"{name} has labels {y.min()}..{y.max()}, expected 0..{classes - 1}; correct data.classes")


def check_official(train: Split, levels: int | None, classes: int | None, name: str) -> None:
    """UserError unless the training data use every level and class that the config states, as official sets do."""
    facts = [("levels", levels, int(train.x.max()) + 1)]
    if train.y is not None:
        facts.append(("classes", classes, int(train.y.max()) + 1))
    for key, stated, found in facts:
        if stated != found:
            raise UserError(f"{name} has {found} {key}, got {stated} in the config; set data.{key}={found}")
