"""Improved precision and recall (Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991).

A set's manifold is the union of balls around its images that reach to their k-th nearest
neighbours, borders included. Precision is the share of generated images in the manifold of the
real ones, recall that of real images in the manifold of the generated ones.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from genmodels.evaluators.banked import BankedMetric
from genmodels.evaluators.base import Score, SplitName
from genmodels.evaluators.pairs import check_neighbours, distances, radii
from genmodels.evaluators.reference import Reference, radii_of
from genmodels.evaluators.results import Mode, Progress
from genmodels.ranges import PositiveInt


class PrecisionRecall(BankedMetric):
    """Precision and recall of `n` samples, in whichever features are given."""

    mode: ClassVar[Mode] = "max"
    kind: ClassVar[str] = "precision"
    further = ("recall",)

    def __init__(
        self,
        *,
        n: PositiveInt,  # generated samples
        reference: SplitName,  # split whose images the samples are laid against
        k: PositiveInt,  # which neighbour gives a ball its radius
    ):
        super().__init__()
        self.n = n
        self.reference = reference
        self.k = k

    def allocate(self, d: int, k: int) -> None:
        check_neighbours(self.k, self.n - 1, "precision_recall", f"{self.n} generated samples")
        super().allocate(d, k)

    def require(self, n: int, name: str) -> None:
        check_neighbours(self.k, n - 1, "precision_recall", f"{n} images in {name}")

    def compare(self, reference: Reference, fake: Float[Tensor, "m d"], about: dict[str, Any]) -> list[Score]:
        precision, recall = precision_recall(reference, fake, self.k, self.device, self.progress)
        about = about | {"k": self.k}
        return [Score("precision", precision, None, about), Score("recall", recall, None, about)]


def precision_recall(
    reference: Reference, fake: Float[Tensor, "m d"], k: int, device: torch.device, progress: Progress
) -> tuple[float, float]:
    """Shares of `fake` within the manifold of the reference, and of the reference within that of `fake`."""
    real = reference.features()
    real_radii, fake_radii = radii_of(reference, k, device, progress), radii(fake, k, device, progress)
    precise = torch.zeros(len(fake), dtype=torch.bool, device=device)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=device)
    for rows, distance in distances(fake, real, device, progress):  # (b, n)
        precise[rows] = (distance <= real_radii).any(1)
        recalled |= (distance <= fake_radii[rows, None]).any(0)
    return float(precise.double().mean()), float(recalled.double().mean())
