"""Improved precision and recall (Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991).

A set's manifold is the union of balls around its images that reach to their k-th nearest
neighbours, borders included. Precision is the share of generated images in the manifold of the
real ones, recall that of real images in the manifold of the generated ones.
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genmodels.evaluators.bank import Bank
from genmodels.evaluators.base import Mode, Needs, SampleMetric, Score, described
from genmodels.evaluators.pairs import check_neighbours, distances, radii
from genmodels.evaluators.reference import Reference


class PrecisionRecall(SampleMetric):
    """Precision and recall of `n` samples, in whichever features are given."""

    mode: ClassVar[Mode] = "max"
    kind: ClassVar[str] = "precision"
    needs: ClassVar[Needs] = "features"

    def __init__(
        self,
        *,
        n: int,  # generated samples
        reference: str,  # split whose images the samples are laid against
        k: int,  # which neighbour gives a ball its radius
    ):
        super().__init__()
        self.n = n
        self.reference = reference
        self.k = k

    def allocate(self, d: int, k: int) -> None:
        check_neighbours(self.k, self.n - 1, "precision_recall", f"{self.n} generated samples")
        self.bank = Bank(self.n, (d,))
        self.reset()

    def update(self, features: Float[Tensor, "b d"], logits: Float[Tensor, "b k"], index: Int[Tensor, "b"]) -> None:
        self.bank.put(index, features)

    def compute(self, reference: Reference | None = None) -> list[Score]:
        assert reference is not None
        real, fake = reference.features(), self.bank.gathered(self.device)
        check_neighbours(self.k, len(real) - 1, "precision_recall", f"{len(real)} images in {reference.name}")
        precision, recall = precision_recall(real, fake, self.k, self.device)
        about = described(reference) | {"n_reference": len(real), "k": self.k}
        return [Score("precision", precision, None, about), Score("recall", recall, None, about)]


def precision_recall(
    real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], k: int, device: torch.device
) -> tuple[float, float]:
    """Shares of `fake` within the manifold of `real`, and of `real` within that of `fake`."""
    real_radii, fake_radii = radii(real, k, device), radii(fake, k, device)
    precise = torch.zeros(len(fake), dtype=torch.bool, device=device)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=device)
    for rows, distance in distances(fake, real, device):  # (b, n)
        precise[rows] = (distance <= real_radii).any(1)
        recalled |= (distance <= fake_radii[rows, None]).any(0)
    return float(precise.double().mean()), float(recalled.double().mean())
