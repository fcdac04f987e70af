"""Downsampled ImageNet (Chrabaszcz et al. 2017, https://arxiv.org/abs/1707.08819), the published npz files.

1,281,167 training images of 1000 classes in ten files, downsampled by a box filter. The official validation set
of 50,000 is the test split here, and some of the training images are the validation split. Papers on densities before
2021 used another version, with another filter and fewer images (van den Oord et al. 2016,
https://arxiv.org/abs/1601.06759), which has been withdrawn: their bits per dimension are for other data.
"""

import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, cast

import numpy as np
from jaxtyping import Int64, UInt8

from genmodels.data.base import held_out
from genmodels.data.content import content_hash
from genmodels.data.files import fetch, unreadable
from genmodels.data.mapped import Chunk, MappedImages, Preparation
from genmodels.data.npz import READING_ERRORS
from genmodels.disk.archives import require_size
from genmodels.errors import UserError
from genmodels.fields import SplitName
from genmodels.ranges import NonNegativeInt, PositiveInt, TwoOrMore

TRAINING, VALIDATION = 1_281_167, 50_000  # official numbers of images
COPIED_AT_ONCE = 4096  # images copied at a time
MAX_ZIP_EXPANSION = 100  # largest ratio of an archive's unpacked size to its own


class BatchFile(NamedTuple):
    """One of the published npz files: on disk, or within an archive on disk."""

    path: Path
    member: str | None

    def read(self, key: str) -> np.ndarray:
        """One of its arrays. Raises UserError where the file is broken or has no such array."""
        try:
            with ExitStack() as stack:
                file: IO[bytes] | Path = self.path
                if self.member is not None:
                    file = stack.enter_context(stack.enter_context(zipfile.ZipFile(self.path)).open(self.member))
                return cast(np.ndarray, stack.enter_context(np.load(file, allow_pickle=False))[key])
        except (*READING_ERRORS, KeyError) as error:
            raise unreadable(self.path, f"{self.member or self.path.name}: {error or type(error).__name__}") from error


class ImageNet(MappedImages):
    """Archives `root/folder/<name>.zip`, or folders `<name>` with their content: uint8 (3, h, w), labels 0..999."""

    def __init__(
        self,
        *,
        name: str,  # in tables, pictures and the names of runs
        shape: Sequence[PositiveInt],
        levels: TwoOrMore,
        classes: PositiveInt | None,  # null: no labels
        batch_size: PositiveInt,
        flip: bool,  # mirror each training image half of the time
        n_validation: NonNegativeInt,  # of the official training images, chosen by split_seed
        split_seed: NonNegativeInt,
        root: str,
        folder: str,  # below root
        training: Sequence[str],  # names of the archives of training images
        validation: str,  # name of the archive of validation images: the test split
        sha256: Sequence[str],  # of these archives, in this order
        verify: bool,  # refuse archives with another sha256, and other numbers of images than the official ones
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size, flip=flip)
        self.n_validation = n_validation
        self.split_seed = split_seed
        self.sources = [Path(root).expanduser() / folder / archive for archive in (*training, validation)]
        self.sha256 = sha256
        self.verify = verify

    @property
    def prepared(self) -> str:
        return "box filter, by Chrabaszcz et al. 2017"

    def plan(self) -> Preparation:
        *training, validation = map(batches, self.sources)
        every = [batch for source in training for batch in source]
        content = content_hash([batch.path for batch in every + validation])
        chunks = chain(self.from_training(every), self.from_validation(validation))
        return Preparation(facts=[self.n_validation, self.split_seed, content], n=TRAINING + VALIDATION, chunks=chunks)

    def from_training(self, batches: Sequence[BatchFile]) -> Iterator[Chunk]:
        """Chunks of the training and validation splits."""
        for source, sha256 in zip(self.sources, self.sha256, strict=True):
            if not source.is_dir():
                fetch(zipped(source), [], sha256, self.verify)
        labels = self.labels(batches, TRAINING)
        held = held_out(sum(map(len, labels)), self.n_validation, self.split_seed, "n_validation")
        for batch, y in zip(batches, labels, strict=True):
            mask, held = held[: len(y)], held[len(y) :]
            for part, x in self.images(batch, len(y)):
                yield self.chunk("train", x[~mask[part]], y[part][~mask[part]])
                yield self.chunk("val", x[mask[part]], y[part][mask[part]])

    def from_validation(self, batches: Sequence[BatchFile]) -> Iterator[Chunk]:
        """Chunks of the test split."""
        for batch, y in zip(batches, self.labels(batches, VALIDATION), strict=True):
            for part, x in self.images(batch, len(y)):
                yield self.chunk("test", x, y[part])

    def chunk(self, split: SplitName, x: UInt8[np.ndarray, "k c h w"], y: Int64[np.ndarray, " k"]) -> Chunk:
        return Chunk(split, x, None if self.classes is None else y)

    def labels(self, batches: Sequence[BatchFile], official: int) -> list[Int64[np.ndarray, " n"]]:
        """The labels of each batch, from 0; the published labels start at 1."""
        labels = [np.asarray(batch.read("labels"), np.int64) - 1 for batch in batches]
        if self.verify and (n := sum(map(len, labels))) != official:
            raise UserError(
                f"{batches[0].path} and the files beside it have {n} images, expected the official {official}; get "
                "them again, or set data.verify=false to use them as they are"
            )
        return labels

    def images(self, batch: BatchFile, n: int) -> Iterator[tuple[slice, UInt8[np.ndarray, "k c h w"]]]:
        """The images of a batch, in parts: the slice and the images."""
        x = batch.read("data")
        if x.dtype != np.uint8 or x.shape != (n, int(np.prod(self.shape))):
            raise unreadable(
                batch.path, f"it has {x.dtype} data of shape {x.shape}, for {n} images of {list(self.shape)}"
            )
        for start in range(0, n, COPIED_AT_ONCE):
            part = slice(start, start + COPIED_AT_ONCE)
            yield part, x[part].reshape(-1, *self.shape)


def batches(source: Path) -> list[BatchFile]:
    """The npz files of an archive, or of its folder where that exists, in the order of their numbers."""
    if source.is_dir():
        found = [BatchFile(path, None) for path in source.rglob("*.npz")]
    elif zipped(source).is_file():
        found = members(zipped(source))
    else:
        raise UserError(
            f"{zipped(source)} is not there, expected the official archive or a folder {source.name} with its files; "
            "get it from https://image-net.org, or set data.root or GENMODELS_DATA to the folder where the datasets lie"
        )
    if not found:
        raise UserError(f"{source} has no .npz files, expected those of the official {source.name}.zip; unpack it")
    return sorted(found, key=lambda batch: batch_number(batch.member or batch.path.name))


def members(path: Path) -> list[BatchFile]:
    """The npz files in an archive."""
    try:
        require_size(path, most=MAX_ZIP_EXPANSION)
        with zipfile.ZipFile(path) as archive:
            return [BatchFile(path, name) for name in archive.namelist() if name.endswith(".npz")]
    except (zipfile.BadZipFile, OSError) as error:
        raise unreadable(path, str(error)) from error


def zipped(source: Path) -> Path:
    """The archive of that name."""
    return source.with_name(f"{source.name}.zip")


def batch_number(name: str) -> tuple[int, str]:
    """Sort key: train_data_batch_10.npz comes after train_data_batch_2.npz."""
    digits = re.findall(r"[0-9]+", PurePosixPath(name).stem)
    return int(digits[-1]) if digits else 0, name
