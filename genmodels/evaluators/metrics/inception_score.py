"""Inception Score (Salimans et al. 2016, https://arxiv.org/abs/1606.03498).

exp E_x KL(p(y|x) || p(y)), over `splits` consecutive parts of the samples; mean and standard
deviation over the parts. The mean KL is computed from sums: E Σ p log p - Σ p̄ log p̄, with p̄ = E p.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from genmodels.errors import UserError
from genmodels.evaluators.base import SampleMetric, Score, Uses, at_least_two
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.reference import Reference
from genmodels.evaluators.results import Mode
from genmodels.evaluators.subject import GeneratedBatch
from genmodels.ranges import PositiveInt


class InceptionScore(SampleMetric):
    """Inception Score of `n` samples by the class probabilities of the given features."""

    mode: ClassVar[Mode] = "max"
    kind: ClassVar[str] = "inception_score"
    uses: ClassVar[Uses] = "nothing"
    count: Tensor
    p: Tensor
    p_log_p: Tensor

    def __init__(
        self,
        *,
        n: PositiveInt,  # generated samples
        splits: PositiveInt,  # consecutive parts, over which mean and std are taken
    ):
        super().__init__()
        self.n = n
        self.splits = splits
        self.reference = None

    def suits(self, features: Features) -> None:
        if features.classes == 0:
            raise UserError("inception_score needs class probabilities and these features have none: choose others")

    def allocate(self, d: int, k: int) -> None:
        at_least_two(self.n, "generated samples for inception_score")
        if not 1 <= self.splits <= self.n:
            raise UserError(f"got splits={self.splits} for {self.n} samples, expected 1 to n: change inception_score")
        for name, shape in {"count": (self.splits,), "p": (self.splits, k), "p_log_p": (self.splits,)}.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64, device=self.device), dist_reduce_fx="sum")
        super().allocate(d, k)

    def update(self, drawn: GeneratedBatch) -> None:
        p = drawn.logits.double().softmax(1)
        # part s holds samples floor(sn/splits) <= i < floor((s+1)n/splits)
        part = ((drawn.numbers + 1) * self.splits - 1) // self.n
        self.count.index_add_(0, part, torch.ones_like(p[:, 0]))
        self.p.index_add_(0, part, p)
        self.p_log_p.index_add_(0, part, torch.xlogy(p, p).sum(1))

    def compute(self, reference: Reference | None = None, generated: Float[Tensor, "n d"] | None = None) -> list[Score]:
        p = self.p / self.count[:, None]  # (splits, k): p(y) of each part
        scores = (self.p_log_p / self.count - torch.xlogy(p, p).sum(1)).exp()
        about = {"splits": self.splits, "splits_order": "consecutive"}
        return [Score(self.kind, float(scores.mean()), float(scores.std(correction=0)), about)]
