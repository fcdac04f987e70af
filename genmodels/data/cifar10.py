"""CIFAR-10 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html), the official binary version.

50,000 training and 10,000 test images of 32x32 in six files of 10,000 rows, each a label byte and then the red, green
and blue planes. They are read from the unpacked folder where it lies below root, else out of the official archive.
"""

import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from genmodels.data.base import Data, Split, Splits, check_official, hold_out
from genmodels.data.files import broken, fetch
from genmodels.data.transforms import random_flip
from genmodels.errors import UserError

FOLDER = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"
FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
ROW = 1 + 3 * 32 * 32  # bytes: label, planes
ROWS = 10_000  # of a file


class CIFAR10(Data):
    """Six files in `root/cifar-10-batches-bin`, or their archive in `root`: uint8 (3, 32, 32), labels 0..9."""

    def __init__(
        self,
        *,
        name: str,
        shape: Sequence[int],
        levels: int,
        classes: int,
        batch_size: int,
        flip: bool,
        n_validation: int,  # of the official training images, chosen by split_seed
        split_seed: int,
        root: str,
        urls: Sequence[str],  # of the archive
        md5: str,  # of the archive
        verify: bool,  # refuse an archive that is found in root with another md5
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
        *training, test = map(parse, self.contents())
        every = Split(*(torch.cat(parts) for parts in zip(*training, strict=True)))
        check_official(every, self.levels, self.classes, self.name)
        train, val = hold_out(every, self.n_validation, self.split_seed)
        return Splits(train, val, test, training=train)

    def contents(self) -> list[bytes]:
        """The six files."""
        folder = self.root / FOLDER
        if folder.is_dir():
            return [read_file(folder / file) for file in FILES]
        return read_archive(fetch(self.root / ARCHIVE, self.urls, self.md5, self.verify))

    def transform(self, x: UInt8[Tensor, "b *shape"], generator: torch.Generator) -> UInt8[Tensor, "b *shape"]:
        return random_flip(x, generator) if self.flip else x


def parse(content: bytes) -> Split:
    """Images and labels of one file."""
    rows = torch.from_numpy(np.frombuffer(content, np.uint8).reshape(-1, ROW).copy())
    return Split(rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].long())


def read_file(path: Path) -> bytes:
    """One unpacked file, whose size must be right."""
    if not path.is_file():
        raise UserError(f"{path} is not there, expected all of {', '.join(FILES)}; unpack the official {ARCHIVE} anew")
    content = path.read_bytes()
    if len(content) != ROWS * ROW:
        raise broken(path, f"it has {len(content)} bytes instead of {ROWS * ROW}")
    return content


def read_archive(path: Path) -> list[bytes]:
    """The six files out of the archive, nothing being written to disk."""
    found = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                if member.isfile() and (name := Path(member.name).name) in FILES:
                    found[name] = archive.extractfile(member).read()  # type: ignore[union-attr]
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise broken(path, str(error)) from error
    if sizes := [file for file in FILES if len(found.get(file, b"")) != ROWS * ROW]:
        raise broken(path, f"{', '.join(sizes)} in it is missing or short")
    return [found[file] for file in FILES]
