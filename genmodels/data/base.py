"""The base class of datasets: three fixed splits in data units, and a random transform of training batches.

The splits hold the stored integers (or float32 points), as one tensor or a mapping of several, and the condition of
each sample, in a fixed order. They are never augmented: evaluators score them, count them and compute their
fingerprint. Training draws batches from `training_split()` and passes each through `visit`, which calls
`transform` to flip or binarize with new random numbers every time.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.random import RandomState
from torch import Tensor

from genmodels.capabilities import Batch, Condition
from genmodels.errors import UserError
from genmodels.fields import Field, Fields, KindName, SplitName, in_range, label
from genmodels.trees import count, take, tensors

SAMPLES_AT_ONCE = 1024  # samples that are hashed at a time


class Split(NamedTuple):
    """Samples and their conditions, on the CPU; `x` may be memory-mapped, or a view."""

    x: Any  # a Batch: (n, *shape) as the data's `x` says, or a mapping of such tensors
    condition: Condition  # {"label": (n,) int64}, {"image": (n, c, h, w)}, ...; {}: nothing


def default_kind(shape: Sequence[int], levels: int | None) -> KindName:
    """The kind of samples where none is given: real numbers are points, integers are images or tokens."""
    if levels is None:
        return "points"
    return "image" if len(shape) == 3 else "tokens"


def labelled(x: Batch, y: Int[Tensor, " n"] | None) -> Split:
    """Samples with their labels 0..classes-1, or without labels."""
    return Split(x, {} if y is None else {"label": y})


class Splits(NamedTuple):
    """The result of `read`: the three splits in data units, and the split that training draws from."""

    train: Split
    val: Split
    test: Split
    training: Split  # `transform` of it is in data units; the same object as `train` unless `transform` changes units


class Data(ABC):
    """A dataset. Everything is read, or memory-mapped, once, at the first access to a split."""

    def __init__(
        self,
        *,
        name: str,
        shape: Sequence[int],  # of a sample: (c, h, w) or (d,)
        levels: int | None,  # values an entry can take, 0..levels-1; None: continuous
        classes: int | None,  # labels are 0..classes-1; None: no labels
        batch_size: int,  # global: over all devices and accumulation
        kind: KindName | None = None,  # of a sample; None: see `default_kind`
    ):
        if batch_size < 1:
            raise UserError(f"data.batch_size is {batch_size}, expected at least 1; give a positive number")
        self.name = name
        self.shape = tuple(shape)
        self.levels = levels
        self.classes = classes
        self.batch_size = batch_size
        self.x: Field | Fields = Field(kind or default_kind(self.shape, levels), self.shape, levels)
        self.condition: Fields = label(classes)

    @property
    def prepared(self) -> str | None:
        """How the published images were cropped and resized, for the protocol of results; None: not at all."""
        return None

    @abstractmethod
    def read(self) -> Splits:
        """Reads all splits. Raises UserError where a file is missing, broken or does not match the config."""

    @abstractmethod
    def transform(self, x: Any, generator: torch.Generator) -> Any:
        """A batch of `training_split()` as training sees it: in data units, on the device of `x`.

        Its random numbers come from `generator`, which lives on that device.
        """

    def visit(self, x: Batch, condition: Condition, generator: torch.Generator) -> tuple[Batch, Condition]:
        """A batch and its condition as training sees them; override it where both change together."""
        return self.transform(x, generator), condition

    def split(self, name: SplitName) -> Split:
        """A whole split in data units, always the same; "val" is a fixed part of the official training data."""
        split: Split = getattr(self._splits, name)
        if count(split.x) == 0:
            key = "n_test" if name == "test" else "n_validation"
            raise UserError(f"the {name} split of {self.name} is empty, expected samples; set data.{key} above 0")
        return split

    def training_split(self) -> Split:
        """The split that training draws from; every batch passes through `visit`."""
        return self._splits.training

    def fingerprint(self, name: SplitName) -> str:
        """sha256 (hex) over dtype, shape and bytes of the split's `x` and conditions."""
        return fingerprint_of(self.split(name))

    @cached_property
    def _splits(self) -> Splits:
        splits = self.read()
        for split in (splits.train, splits.val, splits.test):
            check_fields(split.x, self.x, self.name)
            check_conditions(split, self.condition, self.name)
        return splits


def fingerprint_of(split: Split) -> str:
    """See `Data.fingerprint`; a memory-mapped split is read a part at a time."""
    digest = hashlib.sha256()
    samples, conditions = ([values.numpy() for _, values in tensors(tree)] for tree in split)
    for array in [*samples, *(conditions or [np.zeros(0)])]:
        digest.update(f"{array.dtype.str} {array.shape} ".encode())
        for start in range(0, len(array), SAMPLES_AT_ONCE):
            digest.update(np.ascontiguousarray(array[start : start + SAMPLES_AT_ONCE]).data)
    return digest.hexdigest()


def hold_out(split: Split, n: int, seed: int, key: str) -> tuple[Split, Split]:
    """The split without `n` samples that `seed` chooses, and a split of these; both keep the order.

    `key` is the config key of `n`, for the error message.
    """
    held = torch.from_numpy(held_out(count(split.x), n, seed, key))
    return take(split, torch.nonzero(~held).flatten()), take(split, torch.nonzero(held).flatten())


def held_out(of: int, n: int, seed: int, key: str) -> Bool[np.ndarray, " of"]:
    """A mask of the `n` samples that `seed` chooses.

    It uses NumPy's RandomState, whose stream is frozen, so that the choice never changes.
    """
    if not 0 <= n < of:
        raise UserError(f"cannot hold out {n} of {of} samples (data.{key}), expected 0 to {of - 1}; lower data.{key}")
    chosen = np.zeros(of, bool)
    chosen[RandomState(seed).permutation(of)[:n]] = True
    return chosen


def check_fields(x: Batch, field: Field | Fields, name: str) -> None:
    """UserError unless samples, of one tensor or several, have the shape, dtype and range of the fields."""
    if isinstance(field, Field):
        assert isinstance(x, Tensor)
        check_values(x, field, name)
        return
    assert isinstance(x, Mapping)
    for part, each in field.items():
        check_values(x[part], each, f"{name}: {part}")


def check_values(x: Tensor, field: Field, name: str) -> None:
    """UserError unless samples have the shape, dtype and range of the field."""
    levels = field.levels
    if tuple(x.shape[1:]) != field.shape:
        raise UserError(
            f"{name} has samples of shape {list(x.shape[1:])}, expected {list(field.shape)}; correct data.shape"
        )
    if x.dtype != field.dtype:
        raise UserError(f"{name} has {x.dtype} values, expected {field.dtype} for levels={levels}; correct data.levels")
    if levels is not None and not in_range(x, levels):
        raise UserError(f"{name} has values {x.min()}..{x.max()}, expected 0..{levels - 1}; correct data.levels")
    if levels is None and not x.isfinite().all():
        raise UserError(f"{name} has values that are not finite, expected numbers; remove them from the file")


def check_conditions(split: Split, fields: Fields, name: str) -> None:
    """UserError unless the conditions of a split match the fields."""
    classes = fields["label"].levels if "label" in fields else None
    check_labels(split.condition.get("label"), classes, name)
    for part, field in fields.items():
        if part != "label":
            check_values(split.condition[part], field, f"{name}, condition {part}")


def check_labels(y: Tensor | None, classes: int | None, name: str) -> None:
    """UserError unless labels exist exactly if there are classes, and all are in range."""
    if (y is None) != (classes is None):
        found = "no labels" if y is None else "labels"
        raise UserError(f"{name} has {found}, which does not match classes={classes}; correct data.classes")
    if y is None or classes is None or not y.numel():
        return
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise UserError(f"{name} has labels {y.min()}..{y.max()}, expected 0..{classes - 1}; correct data.classes")


def check_official(train: Split, levels: int | None, classes: int | None, name: str) -> None:
    """UserError unless the training data use all levels and classes in the config, as official datasets do."""
    assert isinstance(train.x, Tensor)
    facts = [("levels", levels, int(train.x.max()) + 1)]
    if "label" in train.condition:
        facts.append(("classes", classes, int(train.condition["label"].max()) + 1))
    for key, stated, found in facts:
        if stated != found:
            raise UserError(f"{name} has {found} {key}, got {stated} in the config; set data.{key}={found}")
