"""Kernel Inception Distance (Bińkowski et al. 2018, https://arxiv.org/abs/1801.01401).

The squared maximum mean discrepancy of real features x and generated ones y under the kernel
k(x, y) = (x.y/d + 1)³, by its unbiased estimator, which can be negative.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from genmodels.errors import UserError
from genmodels.evaluators.banked import BankedMetric
from genmodels.evaluators.base import Score, SplitName
from genmodels.evaluators.pairs import COLUMNS, ROWS, blocks
from genmodels.evaluators.results import Mode
from genmodels.ranges import NonNegativeInt, PositiveInt


class KID(BankedMetric):
    """KID of `n` samples: mean and standard deviation over random subsets of both sets, or of all at once."""

    mode: ClassVar[Mode] = "min"
    kind: ClassVar[str] = "kid"

    def __init__(
        self,
        *,
        n: PositiveInt,  # generated samples
        reference: SplitName,  # split that the samples are laid against
        subsets: PositiveInt,  # over which mean and std are taken
        subset_size: PositiveInt | None,  # of each set, drawn without replacement; null: all samples at once
        seed: NonNegativeInt,  # of the subsets; the run's own seed plays no part
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

    def compare(self, real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], about: dict[str, Any]) -> list[Score]:
        if self.subset_size is None:
            return [Score(self.kind, float(mmd(real, fake, self.device)), None, about | {"subset_size": None})]
        kids = self.over_subsets(real, fake, self.subset_size)
        return [Score(self.kind, float(kids.mean()), float(kids.std(correction=0)), about | self.drawn())]

    def over_subsets(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], size: int) -> Float64[Tensor, " subsets"]:
        """The estimate on each of the subsets."""
        rng = torch.Generator().manual_seed(self.seed)

        def draw(f: Tensor) -> Tensor:
            return f[torch.randperm(len(f), generator=rng)[:size]]

        return torch.stack([mmd(draw(x), draw(y), self.device) for _ in range(self.subsets)])

    def drawn(self) -> dict[str, Any]:
        """What the protocol says of the subsets."""
        return {"subsets": self.subsets, "subset_size": self.subset_size, "subset_seed": self.seed}

    def check_size(self, n: int, what: str) -> None:
        """Refuses subsets that `n` images do not hold."""
        if self.subset_size is not None and not 2 <= self.subset_size <= n:
            raise UserError(
                f"got subset_size={self.subset_size} for the kid of {n} {what}, expected 2 to {n}: "
                "change it, or set it to null for all samples at once"
            )


def mmd(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], device: torch.device) -> Float64[Tensor, ""]:
    """Unbiased estimate of the squared discrepancy, n and m >= 2."""
    n, m = len(x), len(y)
    xx = (kernel_sum(x, x, device) - diagonal_sum(x)) / (n * (n - 1))
    yy = (kernel_sum(y, y, device) - diagonal_sum(y)) / (m * (m - 1))
    return xx + yy - 2 * kernel_sum(x, y, device) / (n * m)


def kernel(dots: Float64[Tensor, "*shape"], d: int) -> Float64[Tensor, "*shape"]:
    """(x.y/d + 1)³ of the inner products."""
    return (dots / d + 1) ** 3


def kernel_sum(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], device: torch.device) -> Float64[Tensor, ""]:
    """Sum of the kernel over all pairs, on the CPU."""
    tiles = (
        (x[i].to(device).double(), y[j].to(device).double())
        for i in blocks(len(x), ROWS)
        for j in blocks(len(y), COLUMNS)
    )
    return torch.stack([kernel(a @ b.T, x.shape[1]).sum() for a, b in tiles]).sum().cpu()


def diagonal_sum(x: Float[Tensor, "n d"]) -> Float64[Tensor, ""]:
    """Sum of the kernel over the pairs of a row with itself."""
    squares = torch.cat([rows.double().square().sum(1) for rows in x.split(ROWS)])
    return kernel(squares, x.shape[1]).sum()
