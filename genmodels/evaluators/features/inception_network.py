"""The Inception network of FID: Inception v3 (Szegedy et al. 2016,
https://arxiv.org/abs/1512.00567) as in TensorFlow's file of 2015-12-05.

It differs from the usual Inception v3: average pools do not count the padding, the last block has
a max pool, and there are 1008 classes. Names are those of the published weights. The batch
normalizations are folded into the convolutions (see `folding.py`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.evaluators.features.base import Extracted

Kernel = tuple[int, int]


class Unit(nn.Conv2d):
    """Convolution, folded batch normalization, ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu_()


class Step(NamedTuple):
    """One unit of a branch; with stride 1, its output has the size of its input."""

    name: str
    channels: int
    kernel: Kernel
    stride: int = 1

    def units(self, channels: int) -> Mapping[str, Unit]:
        padding = [k // 2 for k in self.kernel] if self.stride == 1 else [0, 0]
        return {self.name: Unit(channels, self.channels, self.kernel, self.stride, (padding[0], padding[1]))}


class Fork(NamedTuple):
    """Two units side by side at the end of a branch: a row and a column."""

    name: str
    channels: int

    def units(self, channels: int) -> Mapping[str, Unit]:
        row, column = Step(f"{self.name}a", self.channels, (1, 3)), Step(f"{self.name}b", self.channels, (3, 1))
        return {**row.units(channels), **column.units(channels)}


Branch = Sequence[Step | Fork]


class Mixed(nn.ModuleDict):
    """The outputs of all branches for one input, concatenated along channels; the last branch pools its input first."""

    def __init__(self, channels: int, pool: nn.Module, *branches: Branch):
        super().__init__()
        self.pool = pool
        self.branches: list[list[list[str]]] = []
        for branch in branches:
            c, names = channels, []
            for step in branch:
                units = step.units(c)
                self.update(units)
                names.append(list(units))
                c = step.channels
            self.branches.append(names)

    def forward(self, x: Tensor) -> Tensor:
        inputs = [x] * (len(self.branches) - 1) + [self.pool(x)]
        return torch.cat([y for b, each in zip(self.branches, inputs, strict=True) for y in self.along(b, each)], 1)

    def along(self, branch: list[list[str]], x: Tensor) -> list[Tensor]:
        outputs = [x]
        for names in branch:
            outputs = [self[name](outputs[0]) for name in names]
        return outputs


def average_pool() -> nn.Module:
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def halving_pool() -> nn.Module:
    return nn.MaxPool2d(3, 2)


POINT, SQUARE, ROW, COLUMN = (1, 1), (3, 3), (1, 7), (7, 1)


def mixed_35(channels: int, pooled: int) -> Mixed:
    """On the 35x35 grid."""
    return Mixed(
        channels,
        average_pool(),
        [Step("branch1x1", 64, POINT)],
        [Step("branch5x5_1", 48, POINT), Step("branch5x5_2", 64, (5, 5))],
        [
            Step("branch3x3dbl_1", 64, POINT),
            Step("branch3x3dbl_2", 96, SQUARE),
            Step("branch3x3dbl_3", 96, SQUARE),
        ],
        [Step("branch_pool", pooled, POINT)],
    )


def mixed_35_to_17() -> Mixed:
    return Mixed(
        288,
        halving_pool(),
        [Step("branch3x3", 384, SQUARE, 2)],
        [
            Step("branch3x3dbl_1", 64, POINT),
            Step("branch3x3dbl_2", 96, SQUARE),
            Step("branch3x3dbl_3", 96, SQUARE, 2),
        ],
        [],
    )


def mixed_17(c: int) -> Mixed:
    """On the 17x17 grid, with 7x7 convolutions as rows and columns of `c` channels."""
    return Mixed(
        768,
        average_pool(),
        [Step("branch1x1", 192, POINT)],
        [Step("branch7x7_1", c, POINT), Step("branch7x7_2", c, ROW), Step("branch7x7_3", 192, COLUMN)],
        [
            Step("branch7x7dbl_1", c, POINT),
            Step("branch7x7dbl_2", c, COLUMN),
            Step("branch7x7dbl_3", c, ROW),
            Step("branch7x7dbl_4", c, COLUMN),
            Step("branch7x7dbl_5", 192, ROW),
        ],
        [Step("branch_pool", 192, POINT)],
    )


def mixed_17_to_8() -> Mixed:
    return Mixed(
        768,
        halving_pool(),
        [Step("branch3x3_1", 192, POINT), Step("branch3x3_2", 320, SQUARE, 2)],
        [
            Step("branch7x7x3_1", 192, POINT),
            Step("branch7x7x3_2", 192, ROW),
            Step("branch7x7x3_3", 192, COLUMN),
            Step("branch7x7x3_4", 192, SQUARE, 2),
        ],
        [],
    )


def mixed_8(channels: int, pool: nn.Module) -> Mixed:
    """On the 8x8 grid."""
    return Mixed(
        channels,
        pool,
        [Step("branch1x1", 320, POINT)],
        [Step("branch3x3_1", 384, POINT), Fork("branch3x3_2", 384)],
        [Step("branch3x3dbl_1", 448, POINT), Step("branch3x3dbl_2", 384, SQUARE), Fork("branch3x3dbl_3", 384)],
        [Step("branch_pool", 192, POINT)],
    )


class InceptionNetwork(nn.Module):
    """Pictures (b, 3, 299, 299) in [-1, 1) to 2048 features and 1008 logits without the bias."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential()
        for name, block in self.blocks().items():
            self.trunk.add_module(name, block)
        self.fc = nn.Linear(2048, 1008, bias=False)

    @staticmethod
    def blocks() -> dict[str, nn.Module]:
        return {
            "Conv2d_1a_3x3": Unit(3, 32, 3, 2),
            "Conv2d_2a_3x3": Unit(32, 32, 3),
            "Conv2d_2b_3x3": Unit(32, 64, 3, 1, 1),
            "pool_2": halving_pool(),
            "Conv2d_3b_1x1": Unit(64, 80, 1),
            "Conv2d_4a_3x3": Unit(80, 192, 3),
            "pool_4": halving_pool(),
            "Mixed_5b": mixed_35(192, 32),
            "Mixed_5c": mixed_35(256, 64),
            "Mixed_5d": mixed_35(288, 64),
            "Mixed_6a": mixed_35_to_17(),
            "Mixed_6b": mixed_17(128),
            "Mixed_6c": mixed_17(160),
            "Mixed_6d": mixed_17(160),
            "Mixed_6e": mixed_17(192),
            "Mixed_7a": mixed_17_to_8(),
            "Mixed_7b": mixed_8(1280, average_pool()),
            "Mixed_7c": mixed_8(2048, nn.MaxPool2d(3, 1, 1)),
        }

    def forward(self, u: Float[Tensor, "b 3 299 299"]) -> Extracted:
        """float32 features and logits for any precision of the trunk; the weights of the last layer are float64."""
        f = self.trunk(u).float().mean((2, 3))
        return Extracted(f, self.fc(f.double()).float())
