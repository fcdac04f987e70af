"""Statically binarized MNIST (Larochelle & Murray 2011, https://proceedings.mlr.press/v15/larochelle11a.html).

One fixed draw of Bernoulli(x/255) by Salakhutdinov & Murray (2008, https://doi.org/10.1145/1390156.1390266), which
papers use for "binarized MNIST" numbers in nats: three official splits of 50,000, 10,000 and 10,000 images, without
labels. A text file has a line for each image, of 784 digits 0 or 1, separated by single spaces.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from genmodels.data.base import Data, Split, Splits, check_official, labelled
from genmodels.data.files import fetch, read_whole, unreadable
from genmodels.ranges import PositiveInt, TwoOrMore

AMAT_FILES = ("binarized_mnist_train.amat", "binarized_mnist_valid.amat", "binarized_mnist_test.amat")
PIXELS = 28 * 28
MAX_AMAT_BYTES = 50_000 * 2 * PIXELS  # bytes of the largest file


class MNISTStatic(Data):
    """Three text files in `root/mnist_static`: uint8 (1, 28, 28) in {0, 1}, no labels."""

    def __init__(
        self,
        *,
        name: str,  # in tables, pictures and the names of runs
        shape: Sequence[PositiveInt],
        levels: TwoOrMore,
        classes: None,
        batch_size: PositiveInt,
        root: str,
        urls: Sequence[str],  # mirrors: folders of the three files
        sha256: Sequence[str],  # of the training, validation and test file
        verify: bool,  # refuse files below root with another sha256
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size)
        self.folder = Path(root).expanduser() / "mnist_static"
        self.urls = urls
        self.sha256 = sha256
        self.verify = verify

    def read(self) -> Splits:
        train, val, test = (self.read_file(file, sha256) for file, sha256 in zip(AMAT_FILES, self.sha256, strict=True))
        check_official(train, self.levels, self.classes, self.name)
        return Splits(train, val, test, training=train)

    def read_file(self, file: str, sha256: str) -> Split:
        """One of the three files, found or downloaded."""
        urls = [f"{url.rstrip('/')}/{file}" for url in self.urls]
        return labelled(read_amat(fetch(self.folder / file, urls, sha256, self.verify)), None)

    def transform(self, x: UInt8[Tensor, " b *shape"], generator: torch.Generator) -> UInt8[Tensor, " b *shape"]:
        return x


def read_amat(path: Path) -> UInt8[Tensor, "n 1 28 28"]:
    """The images in a text file: pixel, space, pixel, ..., pixel, end of line."""
    text = np.frombuffer(read_whole(path, MAX_AMAT_BYTES), np.uint8)
    if not len(text) or len(text) % (2 * PIXELS):
        raise unreadable(path, f"it has {len(text)} bytes, expected a multiple of {2 * PIXELS}")
    pixels, between = np.moveaxis(text.reshape(-1, PIXELS, 2), -1, 0)
    if (
        (between[:, :-1] != ord(" ")).any()
        or (between[:, -1] != ord("\n")).any()
        or (pixels >> 1 != ord("0") >> 1).any()
    ):
        raise unreadable(path, f"it is no text of lines of {PIXELS} digits 0 or 1")
    return torch.from_numpy(pixels - ord("0")).reshape(-1, 1, 28, 28)
