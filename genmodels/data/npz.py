"""Anybody's images, symbols or points in a .npz file.

Samples are looked for under the first of the keys `images`, `train_images`, `x`, `arr_0` that is there, labels under
`labels`, `train_labels`, `y`; a test split under `test_images`, `test_labels`, or in a file of its own. Where there is
none, `n_test` samples chosen by `split_seed` are held out; a validation split always is.
"""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from genmodels.data.base import Data, Split, Splits, hold_out, labelled
from genmodels.data.transforms import random_flip
from genmodels.disk.archives import require_size
from genmodels.errors import UserError
from genmodels.fields import smallest_dtype
from genmodels.ranges import NonNegativeInt, PositiveInt, TwoOrMore

IMAGES, LABELS = ("images", "train_images", "x", "arr_0"), ("labels", "train_labels", "y")
TEST_IMAGES, TEST_LABELS = ("test_images",), ("test_labels",)
UNREADABLE = (OSError, ValueError, EOFError, TypeError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)
MOST = 200  # times its size that a file may unpack to
Arrays = Mapping[str, np.ndarray]


class NPZ(Data):
    """One or two .npz files: integer images (n, h, w, c), (n, c, h, w) or (n, h, w), integers (n, l), or float (n, d).

    Integers, of whatever type, are 0..levels-1; floats have no levels. Labels are read where `classes` is given.
    """

    def __init__(
        self,
        *,
        name: str,
        shape: Sequence[PositiveInt],
        levels: TwoOrMore | None,
        classes: PositiveInt | None,
        batch_size: PositiveInt,
        flip: bool,
        path: str,
        test_path: str | None,  # file of the test split; None: `test_images` in the first file, or held out of it
        n_test: NonNegativeInt,  # held out where there is no test split
        n_validation: NonNegativeInt,
        split_seed: NonNegativeInt,
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size)
        if flip and len(self.shape) != 3:
            raise UserError(
                f"data.flip is true for samples of shape {list(shape)}, expected images; set data.flip=false"
            )
        self.flip = flip
        self.path = Path(path).expanduser()
        self.test_path = None if test_path is None else Path(test_path).expanduser()
        self.n_test = n_test
        self.n_validation = n_validation
        self.split_seed = split_seed

    def read(self) -> Splits:
        arrays = read_npz(self.path)
        every = self.pick(self.path, arrays, IMAGES, LABELS)
        if self.test_path is not None:
            test = self.pick(self.test_path, read_npz(self.test_path), TEST_IMAGES + IMAGES, TEST_LABELS + LABELS)
        elif first(arrays, TEST_IMAGES) is not None:
            test = self.pick(self.path, arrays, TEST_IMAGES, TEST_LABELS)
        else:
            every, test = hold_out(every, self.n_test, self.split_seed)
        train, val = hold_out(every, self.n_validation, self.split_seed)
        return Splits(train, val, test, training=train)

    def pick(self, path: Path, arrays: Arrays, images: Sequence[str], labels: Sequence[str]) -> Split:
        """Samples and labels under the first of the keys that are there."""
        x = first(arrays, images)
        y = None if self.classes is None else first(arrays, labels)
        if x is None or (y is None and self.classes is not None):
            wanted = ", ".join(images if x is None else labels)
            raise UserError(f"{path} has the keys {', '.join(arrays)}, expected one of {wanted}; rename the array")
        if y is not None and (y.shape != x.shape[:1] or y.dtype.kind not in "iu"):
            raise UserError(
                f"{path} has {y.dtype} labels of shape {y.shape}, expected an integer for each image; correct them"
            )
        return labelled(self.arrange(path, x), None if y is None else torch.from_numpy(y.astype(np.int64)))

    def arrange(self, path: Path, x: np.ndarray) -> Shaped[Tensor, " n *shape"]:
        """The array with channels first, in the type that holds its levels; float32 without levels."""
        c, size = self.shape[0], self.shape[1:]
        kind = np.floating if self.levels is None else np.integer
        if x.shape[1:] == size and c == 1 and size:
            x = x[:, None]
        if x.shape[1:] == (*size, c) and x.shape[1:] != self.shape:
            x = np.moveaxis(x, -1, 1)
        if x.shape[1:] != self.shape or not np.issubdtype(x.dtype, kind):
            wanted = "floating" if self.levels is None else f"integers 0..{self.levels - 1}"
            raise UserError(
                f"{path} has an array of {x.dtype}, shape {x.shape}, "
                f"expected {wanted}, n samples of shape {list(self.shape)}; "
                "correct data.shape and data.levels, or convert the array"
            )
        if self.levels is not None and x.size and not 0 <= x.min() <= x.max() < self.levels:
            raise UserError(
                f"{path} has values {x.min()}..{x.max()}, expected 0..{self.levels - 1}; correct data.levels"
            )
        dtype = torch.float32 if self.levels is None else smallest_dtype(self.levels)
        return torch.from_numpy(np.ascontiguousarray(x)).to(dtype)

    def transform(self, x: Shaped[Tensor, " b *shape"], generator: torch.Generator) -> Shaped[Tensor, " b *shape"]:
        return random_flip(x, generator) if self.flip else x


def first(arrays: Arrays, keys: Sequence[str]) -> np.ndarray | None:
    """The array under the first of the keys that is there."""
    return next((arrays[key] for key in keys if key in arrays), None)


def read_npz(path: Path) -> Arrays:
    """The arrays of a .npz file; pickled objects are refused. Raises UserError where it is missing or broken."""
    try:
        require_size(path, most=MOST)
        with np.load(path, allow_pickle=False) as file:
            entries = {key: file[key] for key in file.files}
            return {key: array for key, array in entries.items() if isinstance(array, np.ndarray)}  # else it is bytes
    except FileNotFoundError as error:
        raise UserError(f"{path} is not there, expected a .npz file of images; correct data.path") from error
    except UNREADABLE as error:  # MemoryError: a header can claim any shape
        raise UserError(
            f"{path} cannot be read ({error}), expected a .npz file of plain arrays; write it anew"
        ) from error
