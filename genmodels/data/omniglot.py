"""Omniglot as VAE papers use it (Burda et al. 2016, https://arxiv.org/abs/1509.00519): letters of 28x28.

Drawings of 1,623 letters of 50 alphabets (Lake et al. 2015, https://doi.org/10.1126/science.aab3050), downscaled by
Burda et al., 24,345 for training and 8,070 for test. Their file holds the ink of each pixel in 0..1, the
probability that the pixel is 1. In training, pixels are drawn again at every visit; the splits, for evaluators, are one
fixed draw, the same on every machine. The file has pixels in MATLAB's column-major order; here the letters are upright.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy.random import RandomState
from torch import Tensor

from genmodels.data.base import Data, Split, Splits, check_official, hold_out, labelled
from genmodels.data.files import fetch, unreadable
from genmodels.data.mat import read_mat
from genmodels.ranges import NonNegativeInt, PositiveInt, TwoOrMore

FILE = "chardata.mat"
N_TRAIN, N_TEST = 24_345, 8_070
MAX_MAT_BYTES = 2**28  # bytes of the file, and of a variable; the largest variable has 153 million


class Omniglot(Data):
    """`root/omniglot/chardata.mat`: uint8 (1, 28, 28) in {0, 1}, labels 0..49, the alphabet."""

    def __init__(
        self,
        *,
        name: str,  # in tables, pictures and the names of runs
        shape: Sequence[PositiveInt],
        levels: TwoOrMore,
        classes: PositiveInt,
        batch_size: PositiveInt,
        n_validation: NonNegativeInt,  # of the official training images, chosen by split_seed
        split_seed: NonNegativeInt,  # of this choice, and of the fixed draw of splits
        root: str,
        urls: Sequence[str],
        verify: bool,  # refuse a file with other numbers of images; no checksum is published
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size)
        self.n_validation = n_validation
        self.split_seed = split_seed
        self.path = Path(root).expanduser() / "omniglot" / FILE
        self.urls = urls
        self.verify = verify

    def read(self) -> Splits:
        path = fetch(self.path, self.urls, None, self.verify)
        arrays = read_mat(path, ("data", "target", "testdata", "testtarget"), MAX_MAT_BYTES)
        ink, test_ink = (
            ink_and_alphabets(path, arrays[f"{part}data"], arrays[f"{part}target"]) for part in ("", "test")
        )
        found = len(ink.x), len(test_ink.x)
        if self.verify and found != (N_TRAIN, N_TEST):
            raise unreadable(path, f"it has {found[0]} + {found[1]} images instead of {N_TRAIN} + {N_TEST}")
        train_ink, val_ink = hold_out(ink, self.n_validation, self.split_seed, "n_validation")
        train, val, test = (binarized_ink(split, self.split_seed) for split in (train_ink, val_ink, test_ink))
        check_official(train, self.levels, self.classes, self.name)
        return Splits(train, val, test, training=train_ink)

    def transform(self, x: Float32[Tensor, " b *shape"], generator: torch.Generator) -> UInt8[Tensor, " b *shape"]:
        return torch.bernoulli(x, generator=generator).to(torch.uint8)


def ink_and_alphabets(path: Path, pixels: np.ndarray, targets: np.ndarray) -> Split:
    """Ink in 0..1, (n, 1, 28, 28) float32, and alphabets, of pixels (784, n) and one-hot targets (50, n)."""
    if pixels.ndim != 2 or len(pixels) != 28 * 28 or not ((pixels >= 0) & (pixels <= 1)).all():
        raise unreadable(path, f"it has pixels of shape {pixels.shape}, expected (784, n) in 0..1")
    if targets.shape != (50, pixels.shape[1]) or ((targets == 1).sum(0) != 1).any():
        raise unreadable(
            path, f"it has targets of shape {targets.shape}, expected one 1 in each of {pixels.shape[1]} columns"
        )
    x = np.ascontiguousarray(pixels.T.reshape(-1, 1, 28, 28).swapaxes(2, 3), np.float32)
    return labelled(torch.from_numpy(x), torch.from_numpy(targets.argmax(0)))


def binarized_ink(split: Split, seed: int) -> Split:
    """Bernoulli(x) once: [u < x], u uniform on [0, 1) from NumPy's RandomState, whose stream is frozen."""
    u = RandomState(seed).random_sample(tuple(split.x.shape))
    return split._replace(x=torch.from_numpy(u < split.x.numpy()).to(torch.uint8))
