"""Fréchet Inception Distance (Heusel et al. 2017, https://arxiv.org/abs/1706.08500).

The distance between two Gaussians that have the moments of real and of generated features:
|mu1 - mu2|² + tr(sigma1 + sigma2 - 2 (sigma1 sigma2)^½).
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from genmodels.evaluators.base import Mode, SampleMetric, Score, at_least_two
from genmodels.evaluators.moments import Sums, moments, sums, zeros
from genmodels.evaluators.reference import Reference


def frechet_distance(
    mu1: Float64[Tensor, "d"],
    sigma1: Float64[Tensor, "d d"],
    mu2: Float64[Tensor, "d"],
    sigma2: Float64[Tensor, "d d"],
) -> float:
    """Squared Fréchet distance of N(mu1, sigma1) and N(mu2, sigma2), in squared units of the features."""
    a = square_root(sigma1)  # (d, r)
    overlap = torch.linalg.eigvalsh(a.T @ sigma2 @ a).clamp(min=0).sqrt().sum()  # tr (sigma1 sigma2)^½
    return float((mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * overlap)


def square_root(sigma: Float64[Tensor, "d d"]) -> Float64[Tensor, "d r"]:
    """A with A Aᵀ = sigma and as many columns as sigma has rank, counted as numpy's matrix_rank does.

    Leaving out the null directions keeps rounding errors of about 1e-16 from entering the
    distance as their square roots where there are fewer samples than dimensions.
    """
    eigenvalues, vectors = torch.linalg.eigh(sigma)
    keep = eigenvalues > eigenvalues.max() * len(sigma) * torch.finfo(sigma.dtype).eps
    return vectors[:, keep] * eigenvalues[keep].sqrt()


class FID(SampleMetric):
    """Fréchet distance of `n` samples to a split of the data, in whichever features are given."""

    mode: ClassVar[Mode] = "min"
    kind: ClassVar[str] = "fid"
    count: Tensor
    total: Tensor
    outer: Tensor

    def __init__(
        self,
        *,
        n: int,  # generated samples
        reference: str,  # split that gives the reference's moments
    ):
        super().__init__()
        self.n = n
        self.reference = reference

    def allocate(self, d: int, k: int) -> None:
        at_least_two(self.n, "generated samples for the fid")
        for name, state in zip(("count", "total", "outer"), zeros(d, self.device), strict=True):
            self.add_state(name, state, dist_reduce_fx="sum")
        self.reset()

    def update(self, features: Float[Tensor, "b d"], logits: Float[Tensor, "b k"], index: Int[Tensor, "b"]) -> None:
        batch = sums(features)
        self.count += batch.n
        self.total += batch.total
        self.outer += batch.outer

    def compute(self, reference: Reference | None = None) -> Score:
        assert reference is not None
        at_least_two(reference.n, f"images in {reference.name}")
        mu, sigma = moments(Sums(self.count, self.total, self.outer))
        fid = frechet_distance(mu, sigma, reference.mu, reference.sigma)
        return Score(fid, None, described(reference) | rank_note(min(self.n, reference.n), len(mu)))


def described(reference: Reference) -> dict[str, str | int]:
    """What the protocol says of a reference."""
    return {
        "reference": reference.name,
        "n_reference": reference.n,
        "reference_fingerprint": reference.fingerprint,
    }


def rank_note(n: int, d: int) -> dict[str, str]:
    """A remark for the protocol where `n` samples cannot span `d` dimensions."""
    return {"note": f"covariance is rank-deficient: {n} samples, {d} dimensions"} if n <= d else {}
