"""Images that are prepared once, from any source, and then memory-mapped.

They are uint8 files in the user's cache directory, one for each split. The name of their folder is a hash of everything
that they depend on. One process fills the folder under another name, while others wait, and then renames it, so that a
folder is always complete. Splits of any size need no memory except the page cache of the system.
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

from genmodels.data.base import Data, Split, Splits, fingerprint_of, labelled
from genmodels.data.transforms import random_flip
from genmodels.disk.user_cache import cache_dir
from genmodels.errors import UserError
from genmodels.fields import SplitName
from genmodels.progress import progress_display

PREPARATION_VERSION = 2  # raise it with every change of the preparation
DECODED_AT_ONCE = 256  # images decoded at a time
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
File = TypeVar("File")


class Chunk(NamedTuple):
    """The next images of one split."""

    split: SplitName
    x: UInt8[np.ndarray, "k c h w"]
    y: Int64[np.ndarray, " k"] | None


class Preparation(NamedTuple):
    """The images to prepare."""

    facts: Any  # everything that the images depend on, in plain containers
    n: int  # images in total, for the progress bar
    chunks: Iterator[Chunk]  # not started if the images exist already


class MappedImages(Data):
    """Images of 256 levels, prepared once according to `plan`."""

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
        """The content of the splits. Raises UserError where a file is missing or does not match the config."""

    def read(self) -> Splits:
        train, val, test = (load_split(self.folder, name) for name in SPLITS)
        return Splits(train, val, test, training=train)

    def fingerprint(self, name: SplitName) -> str:
        """As in the base class; computed when the images were prepared."""
        self.split(name)  # UserError where it is empty
        fingerprint: str = json.loads((self.folder / "fingerprints.json").read_text())[name]
        return fingerprint

    @cached_property
    def folder(self) -> Path:
        """The folder of the prepared images, which are prepared now if they are missing."""
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
    """All images of a split, decoded in threads, in chunks."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), DECODED_AT_ONCE):
            part = slice(start, start + DECODED_AT_ONCE)
            yield Chunk(split, np.stack(list(pool.map(decode, files[part]))), None if y is None else y[part])


def prepare_folder(folder: Path, plan: Preparation, shape: Sequence[int]) -> None:
    """Fills a folder according to the plan, unless another process does; an incomplete folder never has this name."""
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
        advance = stack.enter_context(progress_display(console))
        for file in files.values():
            write_header(file, (0, *shape))
        for name, x, y in plan.chunks:
            files[name].write(np.ascontiguousarray(x).data)
            labels[name] += [] if y is None else [y]
            n[name] += len(x)
            advance("images", sum(n.values()), plan.n)
        for name, file in files.items():
            file.seek(0)
            write_header(file, (n[name], *shape))  # as long as the first header: NumPy leaves room for digits
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
    """A prepared split; its images are memory-mapped and read-only."""
    try:
        x = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        labels = folder / f"{name}_labels.npy"
        y = np.load(labels, allow_pickle=False) if labels.exists() else None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{folder} is damaged ({error}), expected prepared images; delete it") from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return labelled(torch.from_numpy(x), None if y is None else torch.from_numpy(y))
