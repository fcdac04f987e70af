"""Points in the plane: FFJORD's eight toy densities (Grathwohl et al. 2019, https://arxiv.org/abs/1810.01367).

All points are independent draws. FFJORD takes 100 new points for each of 10,000 steps. The training data here are one
fixed set of as many points, 1,000,000: such a training sees each point once, and runs can be resumed as with any
other data. Validation and test sets have separate random numbers and do not depend on `n_train`.
"""

from collections.abc import Callable, Sequence
from math import pi
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.random import RandomState
from torch import Tensor

from genmodels.data.base import Data, Split, Splits, labelled
from genmodels.errors import UserError
from genmodels.ranges import NonNegativeInt, PositiveInt

Distribution = Literal["8gaussians", "circles", "rings", "moons", "swissroll", "2spirals", "checkerboard", "pinwheel"]
PlanePoints = Float[np.ndarray, "n 2"]
STREAMS = {"train": 0, "val": 1, "test": 2}  # of random numbers of split_seed


class Toy2D(Data):
    """Three sets of draws from one density: float32 (2,), without labels."""

    def __init__(
        self,
        *,
        name: str,
        shape: Sequence[PositiveInt],
        levels: None,
        classes: None,
        batch_size: PositiveInt,
        distribution: Distribution,  # which density
        n_train: PositiveInt,  # points to train on
        n_validation: NonNegativeInt,  # points for validation
        n_test: NonNegativeInt,  # points for the test
        split_seed: NonNegativeInt,  # of all draws
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size)
        self.sizes = {"train": n_train, "val": n_validation, "test": n_test}
        if min(self.sizes.values()) < 0:
            raise UserError(
                f"{name} got {self.sizes} points, expected 0 or more of each; correct data.n_train and others"
            )
        self.distribution = distribution
        self.split_seed = split_seed

    def read(self) -> Splits:
        train, val, test = (self.draw(n, STREAMS[split]) for split, n in self.sizes.items())
        return Splits(train, val, test, training=train)

    def draw(self, n: int, stream: int) -> Split:
        """`n` points. NumPy's RandomState, whose stream is frozen, so that the sets never change."""
        x = GENERATORS[self.distribution](RandomState([self.split_seed, stream]), n)
        return labelled(torch.from_numpy(x.astype(np.float32)), None)

    def transform(self, x: Float[Tensor, "b 2"], generator: torch.Generator) -> Float[Tensor, "b 2"]:
        return x


def unit(angle: Float[np.ndarray, " n"]) -> PlanePoints:
    """The points on the unit circle at these angles."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def eight_gaussians(rng: RandomState, n: int) -> PlanePoints:
    """Round Gaussians of equal weight on a circle, every 45 degrees."""
    return (4 * unit(rng.randint(8, size=n) * pi / 4) + 0.5 * rng.randn(n, 2)) / 1.414


def circles(rng: RandomState, n: int) -> PlanePoints:
    """Two circles of radius 3 and 1.5, of equal weight, with Gaussian noise of 0.24."""
    radius = np.where(rng.rand(n, 1) < 0.5, 1.0, 0.5)
    return 3 * (radius * unit(2 * pi * rng.rand(n)) + 0.08 * rng.randn(n, 2))


def rings(rng: RandomState, n: int) -> PlanePoints:
    """Four circles of radius 0.75, 1.5, 2.25 and 3, of equal weight, with Gaussian noise of 0.08."""
    radius = 0.75 * (1 + rng.randint(4, size=(n, 1)))
    return radius * unit(2 * pi * rng.rand(n)) + 0.08 * rng.randn(n, 2)


def moons(rng: RandomState, n: int) -> PlanePoints:
    """Two half circles of radius 2, of equal weight, which interlock; with Gaussian noise of 0.2."""
    upper = unit(pi * rng.rand(n))
    x = np.where(rng.rand(n, 1) < 0.5, upper, [1, 0.5] - upper)
    return 2 * (x + 0.1 * rng.randn(n, 2)) + [-1, -0.2]


def swissroll(rng: RandomState, n: int) -> PlanePoints:
    """A spiral of one and a half turns, its angle uniform, with Gaussian noise of 0.2."""
    angle = 1.5 * pi * (1 + 2 * rng.rand(n))
    return (angle[:, None] * unit(angle) + rng.randn(n, 2)) / 5


def two_spirals(rng: RandomState, n: int) -> PlanePoints:
    """Two spirals of one and a half turns around each other, of equal weight, denser outwards; noise of 0.1."""
    angle = 3 * pi * np.sqrt(rng.rand(n))
    arm = angle[:, None] * unit(pi - angle) + 0.5 * rng.rand(n, 2)
    return np.where(rng.rand(n, 1) < 0.5, arm, -arm) / 3 + 0.1 * rng.randn(n, 2)


def checkerboard(rng: RandomState, n: int) -> PlanePoints:
    """Uniform on the eight squares of one colour of a board of 4x4 squares with sides 2, from -4 to 4."""
    column = 4 * rng.rand(n) - 2
    row = rng.rand(n) - 2 * rng.randint(2, size=n) + np.floor(column) % 2
    return 2 * np.stack([column, row], axis=1)


def pinwheel(rng: RandomState, n: int) -> PlanePoints:
    """Five long Gaussians around the origin, twisted more with larger radius, of equal weight."""
    along, across = 1 + 0.3 * rng.randn(n), 0.1 * rng.randn(n)
    angle = rng.randint(5, size=n) * 2 * pi / 5 + 0.25 * np.exp(along)
    return 2 * (along[:, None] * unit(-angle) + across[:, None] * unit(pi / 2 - angle))


GENERATORS: dict[Distribution, Callable[[RandomState, int], PlanePoints]] = {
    "8gaussians": eight_gaussians,
    "circles": circles,
    "rings": rings,
    "moons": moons,
    "swissroll": swissroll,
    "2spirals": two_spirals,
    "checkerboard": checkerboard,
    "pinwheel": pinwheel,
}
