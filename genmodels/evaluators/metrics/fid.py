"""Fréchet Inception Distance (Heusel et al. 2017, https://arxiv.org/abs/1706.08500).

The distance between two Gaussians with the moments of real and of generated features:
|mu1 - mu2|² + tr(sigma1 + sigma2 - 2 (sigma1 sigma2)^½). With sigma1 = A Aᵀ and sigma2 = B Bᵀ the last
trace is the sum of the singular values of Aᵀ B. The bias of FID is about a constant
over the number of samples n; FID-infinity (Chong & Forsyth 2020, https://arxiv.org/abs/1911.07023) is the
intercept of a line through FIDs for different n.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.linalg.lapack import dpstrf
from torch import Tensor

from genmodels.errors import UserError
from genmodels.evaluators.base import SampleMetric, Score, Uses, at_least_two, reference_protocol
from genmodels.evaluators.moments import Sums, moments, sums
from genmodels.evaluators.reference import Reference
from genmodels.evaluators.results import Mode
from genmodels.evaluators.subject import GeneratedBatch
from genmodels.fields import SplitName
from genmodels.ranges import PositiveInt, TwoOrMore


def frechet_distance(
    mu1: Float64[Tensor, " d"],
    sigma1: Float64[Tensor, "d d"],
    mu2: Float64[Tensor, " d"],
    sigma2: Float64[Tensor, "d d"],
) -> float:
    """Squared Fréchet distance of N(mu1, sigma1) and N(mu2, sigma2), in squared units of the features."""
    m = square_root(sigma1).T @ square_root(sigma2)  # (r1, r2)
    gram = m @ m.T if len(m) < len(m.T) else m.T @ m
    overlap = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().sum()  # tr (sigma1 sigma2)^½
    return float((mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * overlap)


def square_root(sigma: Float64[Tensor, "d d"]) -> Float64[Tensor, "d r"]:
    """A with A Aᵀ = sigma and rank(sigma) columns, by a pivoted Cholesky decomposition.

    Without the null directions, rounding errors of about 1e-16 do not enter the distance as
    their square roots where there are fewer samples than dimensions.
    """
    lower, pivots, rank, _ = dpstrf(sigma.cpu().numpy(), lower=1)
    a = np.zeros((len(sigma), rank))
    a[pivots - 1] = np.tril(lower)[:, :rank]
    return torch.from_numpy(a).to(sigma.device)


class FID(SampleMetric):
    """Fréchet distance of `n` samples to a split of the data, in the given features."""

    mode: ClassVar[Mode] = "min"
    kind: ClassVar[str] = "fid"
    uses: ClassVar[Uses] = "moments"
    count: Tensor  # (parts,); this and the next are sums over each part of the samples
    total: Tensor
    outer: Tensor

    def __init__(
        self,
        *,
        n: PositiveInt,  # generated samples
        reference: SplitName,  # split of the reference moments
        extrapolate: TwoOrMore | None,  # FIDs in the fit for infinitely many samples; null: no fit
    ):
        super().__init__()
        self.n = n
        self.reference = reference
        self.extrapolate = extrapolate
        self.further = () if extrapolate is None else ("fid_infinity",)

    def allocate(self, d: int, k: int) -> None:
        at_least_two(self.n, "generated samples for fid")
        self.sizes = [self.n] if self.extrapolate is None else sizes(self.n, self.extrapolate)
        order = torch.randperm(self.n, generator=torch.Generator().manual_seed(self.n))
        self.part = torch.bucketize(order, torch.tensor(self.sizes), right=True)  # (n,) of each sample
        parts = len(self.sizes)
        for name, shape in {"count": (parts,), "total": (parts, d), "outer": (parts, d, d)}.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64, device=self.device), dist_reduce_fx="sum")
        super().allocate(d, k)

    def update(self, drawn: GeneratedBatch) -> None:
        part = self.part[drawn.numbers.cpu()]
        for i in part.unique().tolist():
            batch = sums(drawn.features[(part == i).to(drawn.features.device)])
            self.count[i] += batch.n
            self.total[i] += batch.total
            self.outer[i] += batch.outer

    def compute(self, reference: Reference | None = None, generated: Float[Tensor, "n d"] | None = None) -> list[Score]:
        assert reference is not None
        n_reference = self.n if reference.n is None else reference.n
        fids = []
        for done, s in enumerate(self.prefixes()):
            self.progress("fid", done, len(self.sizes))
            fids.append(frechet_distance(*moments(s), reference.mu, reference.sigma))
        self.progress("fid", len(fids), len(fids))
        about = reference_protocol(reference) | rank_note(min(self.n, n_reference), self.total.shape[1])
        scores = [Score(self.kind, fids[-1], None, about)]
        if self.extrapolate is not None:
            about = (
                reference_protocol(reference)
                | {"extrapolated_from": self.sizes}
                | rank_note(self.sizes[0], self.total.shape[1])
            )
            scores.append(Score("fid_infinity", intercept(self.sizes, fids), None, about))
        return scores

    def prefixes(self) -> Iterator[Sums]:
        """Sums over the first 1, 2, ... parts."""
        return accumulate(map(Sums, self.count, self.total, self.outer), lambda a, b: Sums(*map(torch.add, a, b)))


def sizes(n: int, points: int) -> list[int]:
    """`points` numbers of samples, evenly spaced from n/10 to n."""
    found = torch.linspace(n / 10, n, max(points, 0), dtype=torch.float64).round().long().unique().tolist()
    if points < 2 or len(found) < points or found[0] < 2:
        raise UserError(
            f"got extrapolate={points} for the fid of {n} samples, expected 2 or more different numbers of samples "
            "from n/10, itself at least 2, to n: change extrapolate or raise n"
        )
    return found


def intercept(n: list[int], fid: list[float]) -> float:
    """a of the least-squares line a + b/n through the FIDs."""
    return float(np.polyfit(1 / np.array(n), fid, 1)[1])


def rank_note(n: int, d: int) -> dict[str, str]:
    """A remark for the protocol where `n` samples cannot span `d` dimensions."""
    return {"note": f"covariance is rank-deficient: {n} samples, {d} dimensions"} if n <= d else {}
