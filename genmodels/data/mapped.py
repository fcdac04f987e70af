"""Images that are prepared once, whatever they come from, and memory-mapped from then on.

They lie as uint8 in the user's cache directory, a file for each split, in a folder that is named by a hash of all that
they are a function of. It is filled under another name, by one process while others wait, and then renamed: what is
there is whole. Splits of any size cost no memory, but that of the pages that the system keeps of what was read.
"""

import json
import os
import shutil
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Int64, UInt8
from numpy.lib import format as npy
from rich.console import Console
from torch import Tensor

from genmodels.data.base import Data, Split, SplitName, Splits, fingerprint_of, labelled
from genmodels.data.transforms import random_flip
from genmodels.disk.user_cache import cache_dir
from genmodels.errors import UserError
from genmodels.progress import shown

PREPARATION_VERSION = 2  # to be raised with every change of what is made of the same files and rules
IMAGES_AT_ONCE = 256  # images that are decoded at a time
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
File = TypeVar("File")


class Chunk(NamedTuple):
    """The next images of one split."""

    split: SplitName
    x: UInt8[np.ndarray, "k c h w"]
    y: Int64[np.ndarray, " k"] | None


class Preparation(NamedTuple):
    """What is to be prepared."""

    facts: Any  # all that the images are a function of, in plain containers
    n: int  # images in all, for the progress bar
    chunks: Iterator[Chunk]  # not begun where the images are there already


class MappedImages(Data):
    """Images of 256 levels, prepared once as `plan` says."""

    def __init__(
        self,
        *,
        name: str,
        shape: Sequence[int],
        levels: int,
        classes: int | None,
        batch_size: int,
        flip: bool,
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size)
        if levels != 256 or len(self.shape) != 3 or self.shape[0] not in (1, 3):
            raise UserError(
                f"{name} got shape {list(shape)} and levels {levels}, expected [1, h, w] (grey) or [3, h, w] and 256; "
                "correct data.shape and data.levels"
            )
        self.flip = flip

    @abstractmethod
    def plan(self) -> Preparation:
        """What the splits hold. Raises UserError where a file is missing or not what was declared."""

    def read(self) -> Splits:
        train, val, test = (load_split(self.folder, name) for name in SPLITS)
        return Splits(train, val, test, training=train)

    def fingerprint(self, name: SplitName) -> str:
        """That of the base class, as it was taken when the images were prepared."""
        self.split(name)  # refused where it is empty
        fingerprint: str = json.loads((self.folder / "fingerprints.json").read_text())[name]
        return fingerprint

    @cached_property
    def folder(self) -> Path:
        """Where the images are prepared; filled where they are not there yet."""
        plan = self.plan()
        facts = [PREPARATION_VERSION, self.shape, self.classes, plan.facts]
        key = sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        folder = cache_dir() / "datasets" / f"{type(self).__name__.lower()}-{key[:16]}"
        if not folder.is_dir():
            prepare_folder(folder, plan, self.shape)
        return folder

    def transform(self, x: UInt8[Tensor, " b *shape"], generator: torch.Generator) -> UInt8[Tensor, " b *shape"]:
        return random_flip(x, generator) if self.flip else x


def decoded(
    split: SplitName,
    files: Sequence[File],
    y: Int64[np.ndarray, " n"] | None,
    decode: Callable[[File], UInt8[np.ndarray, "c h w"]],
) -> Iterator[Chunk]:
    """All images of a split, decoded in threads, a chunk at a time."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), IMAGES_AT_ONCE):
            part = slice(start, start + IMAGES_AT_ONCE)
            yield Chunk(split, np.stack(list(pool.map(decode, files[part]))), None if y is None else y[part])


def prepare_folder(folder: Path, plan: Preparation, shape: Sequence[int]) -> None:
    """Fills a folder with what is planned, unless another process does; a half-filled one never has its name."""
    unfinished = folder.with_suffix(".unfinished")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
                unfinished.mkdir()
                try:
                    write_splits(unfinished, plan, shape, folder)
                    unfinished.rename(folder)
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        needed = plan.n * prod(shape)
        raise UserError(
            f"cannot write {folder} ({error.strerror or error}), expected room for {needed / 1e6:.0f} MB; "
            "set GENMODELS_CACHE to a directory that can be written and has room"
        ) from error


def write_splits(folder: Path, plan: Preparation, shape: Sequence[int], final: Path) -> None:
    """Writes all images, their labels and fingerprints, with a progress bar where there is a terminal."""
    n = dict.fromkeys(SPLITS, 0)
    labels: dict[SplitName, list[np.ndarray]] = {name: [] for name in SPLITS}
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"preparing {plan.n} images, once; they are kept in {final}", highlight=False)
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in SPLITS}
        advance = stack.enter_context(shown(console))
        for file in files.values():
            write_header(file, (0, *shape))
        for name, x, y in plan.chunks:
            files[name].write(np.ascontiguousarray(x).data)
            labels[name] += [] if y is None else [y]
            n[name] += len(x)
            advance("images", sum(n.values()), plan.n)
        for name, file in files.items():
            file.seek(0)
            write_header(file, (n[name], *shape))  # as long as the first: NumPy leaves room for digits
            file.flush()
            os.fsync(file.fileno())
    for name in SPLITS:
        if any(labels.values()):
            np.save(folder / f"{name}_labels.npy", np.concatenate([np.zeros(0, np.int64), *labels[name]]))
    fingerprints = {name: fingerprint_of(load_split(folder, name)) for name in SPLITS}
    (folder / "fingerprints.json").write_text(json.dumps(fingerprints))


def write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The beginning of an .npy file of uint8."""
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def load_split(folder: Path, name: SplitName) -> Split:
    """A prepared split; its images, which cannot be changed, stay in the file until they are asked for."""
    try:
        x = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        labels = folder / f"{name}_labels.npy"
        y = np.load(labels, allow_pickle=False) if labels.exists() else None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{folder} is damaged ({error}), expected prepared images; delete it") from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return labelled(torch.from_numpy(x), None if y is None else torch.from_numpy(y))
