"""Your own images, tokens or points in an .npz file.

Samples are under the first existing key of `images`, `train_images`, `x`, `arr_0`; labels under `labels`, `label`,
`train_labels`, `y`; a test split under `test_images`, `test_labels`, or in a separate file. Without a test split,
`n_test` samples are held out, chosen by `split_seed`; a validation split is always held out.
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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

IMAGES, LABELS = ("images", "train_images", "x", "arr_0"), ("labels", "label", "train_labels", "y")
TEST_IMAGES, TEST_LABELS = ("test_images",), ("test_labels",)
READING_ERRORS = (OSError, ValueError, EOFError, TypeError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)
MAX_NPZ_EXPANSION = 200  # largest ratio of a file's unpacked size to its own
Arrays = Mapping[str, np.ndarray]


class NPZ(Data):
    """One or two .npz files: integer images (n, h, w, c), (n, c, h, w) or (n, h, w), integers (n, l), or float (n, d).

    Integers of any type are 0..levels-1; floats have no levels. Labels are read if `classes` is given.
    """

    def __init__(
        self,
        *,
        name: str,  # in tables, pictures and the names of runs
        shape: Sequence[PositiveInt],
        levels: TwoOrMore | None,
        classes: PositiveInt | None,
        batch_size: PositiveInt,
        flip: bool,  # mirror each training image half of the time
        path: str,  # an .npz file, or a folder of several
        test_path: str | None,  # file of the test split; None: `test_images` in `path`, or held out from it
        n_test: NonNegativeInt,  # held out where there is no test split
        n_validation: NonNegativeInt,  # samples held out of those for training
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
        elif first_present(arrays, TEST_IMAGES) is not None:
            test = self.pick(self.path, arrays, TEST_IMAGES, TEST_LABELS)
        else:
            every, test = hold_out(every, self.n_test, self.split_seed, "n_test")
        train, val = hold_out(every, self.n_validation, self.split_seed, "n_validation")
        return Splits(train, val, test, training=train)

    def pick(self, path: Path, arrays: Arrays, images: Sequence[str], labels: Sequence[str]) -> Split:
        """Samples and labels under the first existing keys."""
        x = require_array(path, arrays, images)
        y = None if self.classes is None else require_array(path, arrays, labels)
        if y is not None and (y.shape != x.shape[:1] or y.dtype.kind not in "iu"):
            raise UserError(
                f"{path} has {y.dtype} labels of shape {y.shape}, expected an integer for each image; correct them"
            )
        return labelled(self.arrange(path, x), None if y is None else torch.from_numpy(y.astype(np.int64)))

    def arrange(self, path: Path, x: np.ndarray) -> Shaped[Tensor, " n *shape"]:
        """The array with channels first, in the smallest type for its levels; float32 without levels."""
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
        if self.levels is not None and self.levels - 1 > np.iinfo(x.dtype).max:
            most = np.iinfo(x.dtype).max + 1
            raise UserError(f"data.levels is {self.levels} and {path} has {x.dtype} values, 0..{most - 1}; correct it")
        if self.levels is not None and x.size and not 0 <= x.min() <= x.max() < self.levels:
            raise UserError(
                f"{path} has values {x.min()}..{x.max()}, expected 0..{self.levels - 1}; correct data.levels"
            )
        dtype = torch.float32 if self.levels is None else smallest_dtype(self.levels)
        return torch.from_numpy(np.ascontiguousarray(x)).to(dtype)

    def transform(self, x: Shaped[Tensor, " b *shape"], generator: torch.Generator) -> Shaped[Tensor, " b *shape"]:
        return random_flip(x, generator) if self.flip else x


def first_present(arrays: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """The value of the first key that exists; None without any."""
    return next((arrays[key] for key in keys if key in arrays), None)


def require_array(path: Path, arrays: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """The value of the first key that exists; UserError without any."""
    if (found := first_present(arrays, keys)) is None:
        here = ", ".join(arrays) or "(none)"
        raise UserError(f"{path} has the keys {here}, expected one of {', '.join(keys)}; rename the array")
    return found


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raises UserError where the file is missing, broken, or far too large."""
    try:
        require_size(path, most=MAX_NPZ_EXPANSION)
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path} is not there, expected a .npz file of images; correct data.path") from error
    except READING_ERRORS as error:  # MemoryError: a header can claim any shape
        raise UserError(
            f"{path} cannot be read ({error}), expected a .npz file of plain arrays; write it again"
        ) from error


def read_npz(path: Path) -> Arrays:
    """The arrays of a .npz file in native byte order; pickled objects are refused."""
    with reading(path), np.load(path, allow_pickle=False) as file:
        entries = {key: file[key] for key in file.files}
    arrays = {key: array for key, array in entries.items() if isinstance(array, np.ndarray)}  # else it is bytes
    return {key: array.astype(array.dtype.newbyteorder("="), copy=False) for key, array in arrays.items()}


def headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of each array of a .npz file, read without the arrays."""
    found = {}
    with reading(path), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as stream:
                    old = np.lib.format.read_magic(stream) == (1, 0)
                    read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
                    shape, _, dtype = read(stream)
                    found[name.removesuffix(".npy")] = (shape, dtype)
    return found


def shape_in(path: str) -> list[int]:
    """Shape of a sample in a file: [c, h, w] for images, channels first or last; UserError where it is ambiguous."""
    file = Path(path).expanduser()
    shape, _ = require_array(file, headers(file), IMAGES)
    fits = [[1, *shape[1:]]] if len(shape) == 3 else [[*shape[1:]]] if len(shape) == 2 else []
    if len(shape) == 4:
        _, a, b, c = shape
        fits = [[a, b, c]] * (a in (1, 3)) + [[c, a, b]] * (c in (1, 3))
    if len(fits) != 1:
        raise UserError(f"{path} has an array of shape {shape}; give the shape of a sample: data.shape=[c,h,w]")
    return fits[0]


def levels_in(path: str) -> int | None:
    """Levels of the values in a file: its array `levels`, else 256 for uint8 and None for floats; else UserError."""
    file = Path(path).expanduser()
    found = headers(file)
    _, dtype = require_array(file, found, IMAGES)
    if "levels" in found:
        return declared_levels(read_npz(file), file)
    if dtype.kind in "iu" and dtype.itemsize > 1:
        raise UserError(f"{path} has {dtype} values and no array `levels`; set data.levels=N")
    return None if dtype.kind == "f" else 256


def declared_levels(arrays: Arrays, path: Path) -> int:
    """The array `levels` as a number; UserError unless it is one integer of at least 2."""
    levels = arrays["levels"]
    if levels.size != 1 or levels.dtype.kind not in "iu" or levels.item() < 2:
        raise UserError(f"{path} has levels={levels.tolist()}, expected one integer of at least 2; correct the array")
    return int(levels.item())
