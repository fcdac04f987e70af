"""Density and coverage (Naeem et al. 2020, https://arxiv.org/abs/2002.09797).

Around every real image lies a ball that reaches to its k-th nearest other real image, border
included. Density is the mean number of balls that hold a generated image, divided by k, and can
exceed 1; coverage is the share of balls that hold a generated image at all.
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genmodels.evaluators.bank import Bank
from genmodels.evaluators.base import Mode, Needs, SampleMetric, Score, at_least_two, described
from genmodels.evaluators.pairs import check_neighbours, distances, radii
from genmodels.evaluators.reference import Reference


class DensityCoverage(SampleMetric):
    """Density and coverage of `n` samples, in whichever features are given."""

    mode: ClassVar[Mode] = "max"
    kind: ClassVar[str] = "density"
    needs: ClassVar[Needs] = "features"

    def __init__(
        self,
        *,
        n: int,  # generated samples
        reference: str,  # split whose images the balls lie around
        k: int,  # which neighbour gives a ball its radius
    ):
        super().__init__()
        self.n = n
        self.reference = reference
        self.k = k

    def allocate(self, d: int, k: int) -> None:
        at_least_two(self.n, "generated samples for density_coverage")
        self.bank = Bank(self.n, (d,))
        self.reset()

    def update(self, features: Float[Tensor, "b d"], logits: Float[Tensor, "b k"], index: Int[Tensor, "b"]) -> None:
        self.bank.put(index, features)

    def compute(self, reference: Reference | None = None) -> list[Score]:
        assert reference is not None
        real, fake = reference.features(), self.bank.gathered(self.device)
        check_neighbours(self.k, len(real) - 1, "density_coverage", f"{len(real)} images in {reference.name}")
        density, coverage = density_coverage(real, fake, self.k, self.device)
        about = described(reference) | {"n_reference": len(real), "k": self.k}
        return [Score("density", density, None, about), Score("coverage", coverage, None, about)]


def density_coverage(
    real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], k: int, device: torch.device
) -> tuple[float, float]:
    """Mean number of balls around `real` that hold an image of `fake`, over k; and share of balls that hold any."""
    radius = radii(real, k, device)
    held = torch.zeros((), dtype=torch.int64, device=device)
    covered = torch.zeros(len(real), dtype=torch.bool, device=device)
    for _, distance in distances(fake, real, device):  # (b, n)
        inside = distance <= radius
        held += inside.sum()
        covered |= inside.any(0)
    return int(held) / (k * len(fake)), float(covered.double().mean())
