"""The common part of CIFAR-10 and CIFAR-100 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

Both come in two official versions, with the same images in the same order. Binary: rows of label bytes, then the red,
green and blue planes. Python: pickled dicts with an array of such planes and lists of labels, read by an unpickler that
accepts nothing else. Below root it looks for, in this order: the unpacked binary version, its archive, the unpacked
python version, its archive. If none is there, it downloads the binary archive.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from genmodels.data.base import Data, Split, Splits, check_official, hold_out, labelled
from genmodels.data.files import fetch, read_whole, unreadable, untar
from genmodels.data.plain_pickle import byte_array, read_pickle
from genmodels.data.transforms import random_flip
from genmodels.errors import UserError
from genmodels.ranges import NonNegativeInt, PositiveInt, TwoOrMore
from genmodels.trees import cat, count

PLANES = 3 * 32 * 32  # bytes of an image
MAX_CIFAR_BYTES = 2**28  # bytes of a file, or of all in an archive; the official archives hold 187 million


class Version(NamedTuple):
    """An official version: its names, and the parser of its files."""

    folder: str
    archive: str
    files: Sequence[str]  # training files, test file
    parse: Callable[[bytes, Sequence[str], str], Split]  # (content, kinds of labels, wanted kind)


class CIFAR(Data):
    """The official files, or an archive of them, below `root`: uint8 (3, 32, 32), labels 0..classes-1."""

    versions: ClassVar[Sequence[Version]]  # binary, python
    rows: ClassVar[Sequence[int]]  # images in each file
    kinds: ClassVar[Mapping[str, int]]  # of labels: number of classes; in the order of the label bytes

    def __init__(
        self,
        *,
        name: str,  # in tables, pictures and the names of runs
        shape: Sequence[PositiveInt],
        levels: TwoOrMore,
        classes: PositiveInt,
        batch_size: PositiveInt,
        flip: bool,  # mirror each training image half of the time
        n_validation: NonNegativeInt,  # of the official training images, chosen by split_seed
        split_seed: NonNegativeInt,
        root: str,
        urls: Sequence[str],  # of the binary archive
        md5: Sequence[str],  # of the binary archive, of the python archive
        verify: bool,  # refuse an archive in root with another md5
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size)
        self.flip = flip
        self.n_validation = n_validation
        self.split_seed = split_seed
        self.root = Path(root).expanduser()
        self.urls = urls
        self.md5 = md5
        self.verify = verify

    def read(self) -> Splits:
        version, md5 = next(
            (both for both in zip(self.versions, self.md5, strict=True) if self.has(both[0])),
            (self.versions[0], self.md5[0]),
        )
        files = self.unpacked(version) if (self.root / version.folder).is_dir() else self.packed(version, md5)
        *training, test = (self.parse(version, *file, n) for file, n in zip(files.items(), self.rows, strict=True))
        every = cat(training)
        check_official(every, self.levels, self.classes, self.name)
        train, val = hold_out(every, self.n_validation, self.split_seed, "n_validation")
        return Splits(train, val, test, training=train)

    def has(self, version: Version) -> bool:
        """Whether a version exists, unpacked or as an archive."""
        return (self.root / version.folder).is_dir() or (self.root / version.archive).is_file()

    def unpacked(self, version: Version) -> dict[Path, bytes]:
        """The files in its folder."""
        paths = [self.root / version.folder / file for file in version.files]
        if missing := [path for path in paths if not path.is_file()]:
            raise UserError(
                f"{missing[0]} is not there, expected all of {', '.join(version.files)}; "
                f"unpack the official {version.archive} again"
            )
        return {path: read_whole(path, MAX_CIFAR_BYTES) for path in paths}

    def packed(self, version: Version, md5: str) -> dict[Path, bytes]:
        """The files in its archive."""
        path = fetch(self.root / version.archive, self.urls, md5, self.verify)
        found = untar(path, version.files, MAX_CIFAR_BYTES)
        if missing := [file for file in version.files if file not in found]:
            raise unreadable(path, f"{missing[0]} is missing in it")
        return {path / file: found[file] for file in version.files}

    def parse(self, version: Version, path: Path, content: bytes, n: int) -> Split:
        """The `n` images and their labels in one file."""
        wanted = [kind for kind, classes in self.kinds.items() if classes == self.classes]
        if not wanted:
            choice = " or ".join(map(str, self.kinds.values()))
            raise UserError(f"{self.name} has no {self.classes} classes, expected {choice}; correct data.classes")
        try:
            split = version.parse(content, list(self.kinds), wanted[0])
        except ValueError as error:
            raise unreadable(path, str(error)) from error
        if count(split.x) != n:
            raise unreadable(path, f"it has {count(split.x)} images instead of {n}")
        return split

    def transform(self, x: UInt8[Tensor, " b *shape"], generator: torch.Generator) -> UInt8[Tensor, " b *shape"]:
        return random_flip(x, generator) if self.flip else x


def parse_rows(content: bytes, kinds: Sequence[str], wanted: str) -> Split:
    """A file of the binary version."""
    width = len(kinds) + PLANES
    if len(content) % width:
        raise ValueError(f"it has {len(content)} bytes, expected a multiple of {width}")
    rows = torch.from_numpy(np.frombuffer(content, np.uint8).reshape(-1, width).copy())
    return labelled(rows[:, len(kinds) :].reshape(-1, 3, 32, 32), rows[:, kinds.index(wanted)].long())


def parse_pickle(content: bytes, kinds: Sequence[str], wanted: str) -> Split:
    """A file of the python version."""
    batch = read_pickle(content)
    if not isinstance(batch, dict) or not {b"data", wanted.encode()} <= set(batch):
        raise ValueError(f"it is no dict with data and {wanted}")
    planes, labels = byte_array(batch[b"data"]), batch[wanted.encode()]
    if planes.shape[1:] != (PLANES,):
        raise ValueError(f"its data have the shape {planes.shape}")
    if not isinstance(labels, list) or len(labels) != len(planes) or not all(type(label) is int for label in labels):
        raise ValueError(f"its {wanted} are no list of a number for each of {len(planes)} images")
    return labelled(torch.from_numpy(planes.reshape(-1, 3, 32, 32).copy()), torch.tensor(labels))
