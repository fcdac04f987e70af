"""Improved precision and recall (Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991).

The manifold of a set is the union of closed balls around its images, which reach to their k-th
nearest neighbours. Precision is the fraction of generated images in the manifold of the real
images; recall is the fraction of real images in the manifold of the generated images.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from genmodels.evaluators.banked import BankedMetric
from genmodels.evaluators.base import Score
from genmodels.evaluators.pairs import check_neighbours, distances, radii
from genmodels.evaluators.reference import Reference, radii_of
from genmodels.evaluators.results import Mode, Progress
from genmodels.fields import SplitName
from genmodels.ranges import PositiveInt


class PrecisionRecall(BankedMetric):
    """Precision and recall of `n` samples, in the given features."""

    mode: ClassVar[Mode] = "max"
    kind: ClassVar[str] = "precision"
    further = ("recall",)

    def __init__(
        self,
        *,
        n: PositiveInt,  # generated samples
        reference: SplitName,  # split that the samples are compared with
        k: PositiveInt,  # the k-th nearest neighbour gives the radius
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
    """Fraction of `fake` in the manifold of the reference, and of the reference in the manifold of `fake`."""
    real = reference.features()
    real_radii, fake_radii = radii_of(reference, k, device, progress), radii(fake, k, device, progress)
    precise = torch.zeros(len(fake), dtype=torch.bool, device=device)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=device)
    for rows, distance in distances(fake, real, device, progress):  # (b, n)
        precise[rows] = (distance <= real_radii).any(1)
        recalled |= (distance <= fake_radii[rows, None]).any(0)
    return float(precise.double().mean()), float(recalled.double().mean())
