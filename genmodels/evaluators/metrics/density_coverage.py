"""Density and coverage (Naeem et al. 2020, https://arxiv.org/abs/2002.09797).

Every real image is the centre of a closed ball that reaches to its k-th nearest other real image.
Density is the mean number of balls that contain a generated image, divided by k, and can exceed 1.
Coverage is the fraction of balls that contain at least one generated image.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from genmodels.evaluators.banked import BankedMetric
from genmodels.evaluators.base import Score, at_least_two
from genmodels.evaluators.pairs import check_neighbours, distances
from genmodels.evaluators.reference import Reference, radii_of
from genmodels.evaluators.results import Mode, Progress
from genmodels.fields import SplitName
from genmodels.ranges import PositiveInt


class DensityCoverage(BankedMetric):
    """Density and coverage of `n` samples, in the given features."""

    mode: ClassVar[Mode] = "max"
    kind: ClassVar[str] = "density"
    further = ("coverage",)

    def __init__(
        self,
        *,
        n: PositiveInt,  # generated samples
        reference: SplitName,  # split whose images are the centres of the balls
        k: PositiveInt,  # the k-th nearest neighbour gives the radius
    ):
        super().__init__()
        self.n = n
        self.reference = reference
        self.k = k

    def allocate(self, d: int, k: int) -> None:
        at_least_two(self.n, "generated samples for density_coverage")
        super().allocate(d, k)

    def require(self, n: int, name: str) -> None:
        check_neighbours(self.k, n - 1, "density_coverage", f"{n} images in {name}")

    def compare(self, reference: Reference, fake: Float[Tensor, "m d"], about: dict[str, Any]) -> list[Score]:
        density, coverage = density_coverage(reference, fake, self.k, self.device, self.progress)
        about = about | {"k": self.k}
        return [Score("density", density, None, about), Score("coverage", coverage, None, about)]


def density_coverage(
    reference: Reference, fake: Float[Tensor, "m d"], k: int, device: torch.device, progress: Progress
) -> tuple[float, float]:
    """Density and coverage of `fake`."""
    real = reference.features()
    radius = radii_of(reference, k, device, progress)
    held = torch.zeros((), dtype=torch.int64, device=device)
    covered = torch.zeros(len(real), dtype=torch.bool, device=device)
    for _, distance in distances(fake, real, device, progress):  # (b, n)
        inside = distance <= radius
        held += inside.sum()
        covered |= inside.any(0)
    return int(held) / (k * len(fake)), float(covered.double().mean())
