"""Kernel Inception Distance (Bińkowski et al. 2018, https://arxiv.org/abs/1801.01401).

The squared maximum mean discrepancy of real features x and generated ones y under the kernel
k(x, y) = (x.y/d + 1)³, by its unbiased estimator, which can be negative.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from genmodels.errors import UserError
from genmodels.evaluators.banked import BankedMetric
from genmodels.evaluators.base import Score
from genmodels.evaluators.pairs import TILE_COLUMNS, TILE_ROWS, blocks
from genmodels.evaluators.reference import Reference
from genmodels.evaluators.results import Mode, Progress, silent
from genmodels.fields import SplitName
from genmodels.ranges import NonNegativeInt, PositiveInt


class KID(BankedMetric):
    """KID of `n` samples: mean and standard deviation over random subsets of both sets, or of all at once."""

    mode: ClassVar[Mode] = "min"
    kind: ClassVar[str] = "kid"

    def __init__(
        self,
        *,
        n: PositiveInt,  # generated samples
        reference: SplitName,  # split that the samples are compared with
        subsets: PositiveInt,  # over which mean and std are taken
        subset_size: PositiveInt | None,  # of each set, drawn without replacement; null: all samples at once
        seed: NonNegativeInt,  # of the subsets, independent of the seed of the run
    ):
        super().__init__()
        self.n = n
        self.reference = reference
        self.subsets = subsets
        self.subset_size = subset_size
        self.seed = seed

    def allocate(self, d: int, k: int) -> None:
        super().allocate(d, k)
        self.check_size(self.n, "generated samples")
        if self.subsets < 1:
            raise UserError(f"got subsets={self.subsets} for the kid, expected 1 or more: raise it")

    def require(self, n: int, name: str) -> None:
        super().require(n, name)
        self.check_size(n, f"images in {name}")

    def compare(self, reference: Reference, fake: Float[Tensor, "m d"], about: dict[str, Any]) -> list[Score]:
        real = reference.features()
        if self.subset_size is None:
            kid = mmd(real, fake, self.device, self.progress, partial(reference.kept, "kid_pairs"))
            return [Score(self.kind, float(kid), None, about | {"subset_size": None})]
        kids = self.over_subsets(real, fake, self.subset_size)
        return [Score(self.kind, float(kids.mean()), float(kids.std(correction=0)), about | self.drawn())]

    def over_subsets(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], size: int) -> Float64[Tensor, " subsets"]:
        """The estimate on each of the subsets."""
        rng = torch.Generator().manual_seed(self.seed)

        def draw(f: Tensor) -> Tensor:
            return f[torch.randperm(len(f), generator=rng)[:size]]

        kids = []
        for number in range(self.subsets):
            self.progress("subsets of kid", number, self.subsets)
            kids.append(mmd(draw(x), draw(y), self.device))
        self.progress("subsets of kid", self.subsets, self.subsets)
        return torch.stack(kids)

    def drawn(self) -> dict[str, Any]:
        """The part of the protocol about subsets."""
        return {"subsets": self.subsets, "subset_size": self.subset_size, "subset_seed": self.seed}

    def check_size(self, n: int, what: str) -> None:
        """UserError where a subset needs more than `n` images."""
        if self.subset_size is not None and not 2 <= self.subset_size <= n:
            raise UserError(
                f"got subset_size={self.subset_size} for the kid of {n} {what}, expected 2 to {n}: "
                "change it, or set it to null for all samples at once"
            )


def mmd(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    device: torch.device,
    progress: Progress = silent,
    kept: Callable[[Callable[[], Tensor]], Tensor] = lambda make: make(),
) -> Float64[Tensor, ""]:
    """Unbiased estimate of the squared discrepancy, n and m >= 2; `kept` may cache the sum over pairs within `x`."""
    n, m = len(x), len(y)
    xx = kept(lambda: kernel_sum(x, x, device, progress, "pairs of the reference"))
    yy = kernel_sum(y, y, device, progress, "pairs of the samples")
    xy = kernel_sum(x, y, device, progress, "pairs of kid")
    within_x, within_y = (xx - diagonal_sum(x)) / (n * (n - 1)), (yy - diagonal_sum(y)) / (m * (m - 1))
    return within_x + within_y - 2 * xy / (n * m)


def kernel(dots: Float64[Tensor, "*shape"], d: int) -> Float64[Tensor, "*shape"]:
    """(x.y/d + 1)³ of the inner products."""
    return (dots / d + 1) ** 3


def kernel_sum(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    device: torch.device,
    progress: Progress = silent,
    stage: str = "pairs",
) -> Float64[Tensor, ""]:
    """Sum of the kernel over all pairs, on the CPU."""
    tiles = [(i, j) for i in blocks(len(x), TILE_ROWS) for j in blocks(len(y), TILE_COLUMNS)]
    sums = []
    for done, (i, j) in enumerate(tiles):
        progress(stage, done, len(tiles))
        a, b = x[i].to(device).double(), y[j].to(device).double()
        sums.append(kernel(a @ b.T, x.shape[1]).sum())
    progress(stage, len(tiles), len(tiles))
    return torch.stack(sums).sum().cpu()


def diagonal_sum(x: Float[Tensor, "n d"]) -> Float64[Tensor, ""]:
    """Sum of the kernel over the pairs of a row with itself."""
    squares = torch.cat([rows.double().square().sum(1) for rows in x.split(TILE_ROWS)])
    return kernel(squares, x.shape[1]).sum()
