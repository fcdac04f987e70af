"""MNIST (LeCun et al. 1998) and datasets in its file format, such as Fashion-MNIST (https://arxiv.org/abs/1708.07747).

Four gzip files in the idx format: 60,000 training and 10,000 test images of 28x28 grey values 0..255. `binarize:
dynamic` is the binary MNIST of Burda et al. (2016, https://arxiv.org/abs/1509.00519): pixels are Bernoulli(x/255),
drawn again at every visit in training. Its splits, for evaluators, are one fixed draw, the same on every machine.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.random import RandomState
from torch import Tensor

from genmodels.data.base import Data, Split, Splits, check_official, hold_out, labelled
from genmodels.data.files import fetch, read_whole, unreadable
from genmodels.data.transforms import bernoulli, random_flip
from genmodels.ranges import NonNegativeInt, PositiveInt, TwoOrMore

IDX_FILES = {  # number of dimensions of each
    "train-images-idx3-ubyte.gz": 3,
    "train-labels-idx1-ubyte.gz": 1,
    "t10k-images-idx3-ubyte.gz": 3,
    "t10k-labels-idx1-ubyte.gz": 1,
}
MAX_IDX_BYTES = 16 + 60_000 * 28 * 28  # bytes of the largest file, unpacked


class MNIST(Data):
    """Four idx files in `root/folder`: uint8 (1, 28, 28) in 0..255, or in {0, 1} where binarized, labels 0..9."""

    def __init__(
        self,
        *,
        name: str,  # in tables, pictures and the names of runs
        shape: Sequence[PositiveInt],
        levels: TwoOrMore,
        classes: PositiveInt,
        batch_size: PositiveInt,
        flip: bool,  # mirror each training image half of the time
        binarize: Literal["none", "dynamic"],  # dynamic: black or white, drawn again at every visit
        n_validation: NonNegativeInt,  # of the official training images, chosen by split_seed
        split_seed: NonNegativeInt,  # of this choice, and of the fixed draw of binarized splits
        root: str,
        folder: str,  # below root
        urls: Sequence[str],  # mirrors: folders of the four files
        md5: Sequence[str],  # of training images, training labels, test images, test labels
        verify: bool,  # refuse files below root with another md5
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size)
        self.flip = flip
        self.binarize = binarize
        self.n_validation = n_validation
        self.split_seed = split_seed
        self.folder = Path(root).expanduser() / folder
        self.urls = urls
        self.md5 = md5
        self.verify = verify

    def read(self) -> Splits:
        x, y, test_x, test_y = (self.read_file(file, md5) for file, md5 in zip(IDX_FILES, self.md5, strict=True))
        grey, test = labelled(x[:, None], y.long()), labelled(test_x[:, None], test_y.long())  # (n, 1, 28, 28), (n,)
        train, val = hold_out(grey, self.n_validation, self.split_seed, "n_validation")
        splits = Splits(self.fix(train), self.fix(val), self.fix(test), training=train)
        check_official(splits.train, self.levels, self.classes, self.name)
        return splits

    def read_file(self, file: str, md5: str) -> UInt8[Tensor, "..."]:
        """One of the four files, found or downloaded."""
        urls = [f"{url.rstrip('/')}/{file}" for url in self.urls]
        return read_idx(fetch(self.folder / file, urls, md5, self.verify), IDX_FILES[file])

    def fix(self, grey: Split) -> Split:
        """The split for evaluators."""
        return binarized_grey(grey, self.split_seed) if self.binarize == "dynamic" else grey

    def transform(self, x: UInt8[Tensor, " b *shape"], generator: torch.Generator) -> UInt8[Tensor, " b *shape"]:
        x = random_flip(x, generator) if self.flip else x
        return bernoulli(x, generator) if self.binarize == "dynamic" else x


def read_idx(path: Path, dims: int) -> UInt8[Tensor, "..."]:
    """A gzipped idx file of bytes: 0, 0, 8 (unsigned byte), number of dimensions, each as big-endian int32, values."""
    content = read_whole(path, MAX_IDX_BYTES)
    start = 4 + 4 * dims
    if content[:4] != bytes([0, 0, 8, dims]) or len(content) < start:
        raise unreadable(path, f"it starts with the bytes {content[:4].hex()}")
    shape = np.frombuffer(content[4:start], ">u4").tolist()
    values = np.frombuffer(content, np.uint8, offset=start)
    if len(values) != math.prod(shape):
        raise unreadable(path, f"it holds {len(values)} values for the shape {shape}")
    return torch.from_numpy(values.reshape(shape).copy())


def binarized_grey(split: Split, seed: int) -> Split:
    """Bernoulli(x/255) once: [u < x], u uniform on 0..254 from NumPy's RandomState, whose stream is frozen."""
    u = RandomState(seed).randint(255, size=tuple(split.x.shape), dtype=np.uint8)
    return split._replace(x=(torch.from_numpy(u) < split.x).to(torch.uint8))
