"""Images on disk from any program, as pictures in 0..255: a folder of image files, or an .npz.

A folder is read with all its sub-folders, sorted by path, in batches; all images have one size. If the first level has
only sub-folders, at least two, their names are the labels. An .npz is read as a whole: images under `images` or
`arr_0`, and optionally `labels`, and `levels` if its values are 0..levels-1 instead of 0..255.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from genmodels.data.base import Split, labelled
from genmodels.data.image_files import decode, header, images_in
from genmodels.data.npz import Arrays, declared_levels, first_present, read_npz
from genmodels.errors import UserError
from genmodels.units import to_pixels

MAX_CLASSES = 100_000  # more than any dataset has: larger labels number something else
IMAGES, LABELS = ("images", "arr_0"), ("labels", "label", "y")
TEST_EVERY = 10  # one of so many pictures is held out for the test of a classifier


class PicturesOnDisk(ABC):
    """Pictures by number, and a dataset for training a classifier."""

    levels = 256
    prepared = None  # pictures are not changed
    name: str
    shape: tuple[int, int, int]  # (c, h, w)
    y: Int[Tensor, " n"] | None  # labels

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: Sequence[int]) -> UInt8[Tensor, "b c h w"]:
        """The pictures with these numbers, on the CPU."""

    @property
    @abstractmethod
    def sha256(self) -> str:
        """Hash of the content."""

    @property
    def classes(self) -> int | None:
        """Number of labels; None: unlabelled."""
        return None if self.y is None else int(self.y.max()) + 1

    def split(self, name: str) -> Split:
        """For a classifier: every tenth picture is test data, the others are training data."""
        held = torch.arange(len(self)) % TEST_EVERY == TEST_EVERY - 1
        chosen = torch.nonzero(~held if name == "train" else held).flatten()
        return labelled(self.read(chosen.tolist()), None if self.y is None else self.y[chosen])

    def fingerprint(self, split: str) -> str:
        """Hash of a split."""
        return f"{self.sha256}/{split}"


class FolderPictures(PicturesOnDisk):
    """Image files in a folder and its sub-folders, in the order of their paths; decoded in `read`."""

    def __init__(self, path: Path):
        self.path, self.name = path, str(path)
        self.files = images_in(path)
        self.shape = one_shape(self.files)
        self.y = labels_by_folder(self.files, path)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: Sequence[int]) -> UInt8[Tensor, "b c h w"]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            images = list(pool.map(lambda i: decode(self.files[i], self.shape[0]), index))
        return torch.from_numpy(np.stack(images))

    @cached_property
    def sha256(self) -> str:
        """Over the files' names below the folder, and their bytes."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.relative_to(self.path).as_posix()}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()


class ArrayPictures(PicturesOnDisk):
    """Images in an .npz: uint8 (n, h, w, c), (n, c, h, w) or (n, h, w), c 1 or 3; channels last if both fit."""

    def __init__(self, path: Path):
        self.name = str(path)
        arrays = read_npz(path)
        if (values := first_present(arrays, IMAGES)) is None:
            raise UserError(
                f"{path} has the keys {', '.join(arrays) or '(none)'}, expected {' or '.join(IMAGES)}; rename the array"
            )
        self.declared = "levels" in arrays
        x = torch.from_numpy(uint8_channels_first(values, path))
        self.largest = int(x.max())
        levels = declared_levels(arrays, path) if self.declared else 256
        self._require_range(levels)
        self.x = to_pixels(x, levels) if self.declared else x
        _, c, h, w = x.shape
        self.shape = (c, h, w)
        self.y = labels_in(arrays, len(x), path)

    def _require_range(self, levels: int) -> None:
        if self.largest >= levels:
            raise UserError(f"{self.name} has values up to {self.largest}, expected 0..{levels - 1}; correct `levels`")
        if not self.declared and self.largest <= 1:
            raise UserError(
                f"{self.name} has no value above {self.largest}, expected images in 0..255; "
                "multiply them by 255, or add an array levels=2 to the file"
            )

    def __len__(self) -> int:
        return len(self.x)

    def read(self, index: Sequence[int]) -> UInt8[Tensor, "b c h w"]:
        return self.x[torch.as_tensor(index)]

    @cached_property
    def sha256(self) -> str:
        """Over shape and values in 0..255."""
        digest = hashlib.sha256(f"{tuple(self.x.shape)} ".encode())
        digest.update(self.x.contiguous().numpy().data)
        return digest.hexdigest()


def pictures_on_disk(path: Path) -> PicturesOnDisk:
    """The pictures in a folder or an .npz. Raises UserError where there are none, or not of one size and 8 bits."""
    if path.is_dir():
        return FolderPictures(path)
    if path.exists() and path.suffix != ".npz":
        raise UserError(f"{path} is neither a folder of images nor an .npz file; give one of these")
    return ArrayPictures(path)


def one_shape(files: Sequence[Path]) -> tuple[int, int, int]:
    """The common (c, h, w) of all files; c is 3 if any is coloured. Reads only headers."""
    c = 1
    first_of_all = header(files[0])
    for file in files:
        found = header(file)
        if found[:2] != first_of_all[:2]:
            sizes = [f"{path} is {h}x{w}" for path, (h, w, _) in ((files[0], first_of_all), (file, found))]
            raise UserError(f"{' and '.join(sizes)} (height x width), expected images of one size; resize them")
        c = max(c, found.c)
    return c, first_of_all.h, first_of_all.w


def labels_by_folder(files: Sequence[Path], path: Path) -> Int[Tensor, " n"] | None:
    """The number of each file's sub-folder; None where a file is in none, or all are in the same one."""
    parts = [file.relative_to(path).parts for file in files]
    names = sorted({part[0] for part in parts})
    if len(names) < 2 or any(len(part) == 1 for part in parts):
        return None
    number = {name: i for i, name in enumerate(names)}
    return torch.tensor([number[part[0]] for part in parts])


def uint8_channels_first(x: np.ndarray, path: Path) -> np.ndarray:
    """The array as uint8 (n, c, h, w)."""
    if x.dtype != np.uint8:
        raise UserError(f"{path} has values of {x.dtype}{_range(x)}, expected uint8 in 0..255; {_remedy(x)}")
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim == 4 and x.shape[-1] in (1, 3):
        x = np.moveaxis(x, -1, 1)
    if x.ndim != 4 or x.shape[1] not in (1, 3) or not x.size:
        raise UserError(
            f"{path} has an array of shape {x.shape}, expected images (n, h, w, 3), (n, 3, h, w) or grey (n, h, w); "
            "rearrange it"
        )
    return np.ascontiguousarray(x)


def _range(x: np.ndarray) -> str:
    numeric = x.size > 0 and x.dtype.kind in "fiub"
    return f" from {x.min():.4g} to {x.max():.4g}" if numeric else ""


def _remedy(x: np.ndarray) -> str:
    """How to convert other values to uint8 in 0..255."""
    if x.dtype.kind == "f" and x.size and x.min() >= 0 and x.max() <= 1:
        return "these look like values in 0..1: store (255 * x).round().astype('uint8')"
    if x.dtype.kind == "f" and x.size and x.min() >= -1 and x.max() <= 1:
        return "these look like values in -1..1: store (127.5 * x + 127.5).round().astype('uint8')"
    return "store x.round().clip(0, 255).astype('uint8') if they are in 0..255"


def labels_in(arrays: Arrays, n: int, path: Path) -> Int[Tensor, " n"] | None:
    """The labels beside the images, if there are any."""
    if (y := first_present(arrays, LABELS)) is None:
        return None
    if y.shape != (n,) or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= MAX_CLASSES:
        raise UserError(
            f"{path} has {y.dtype} labels of shape {y.shape}{_range(y)}, expected a class number for each of "
            f"{n} images, below {MAX_CLASSES}; number the classes from 0"
        )
    return torch.from_numpy(y.astype(np.int64))
