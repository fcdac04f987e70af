"""How often a classifier finds the label that a sample was conditioned on.

The fraction of generated images whose label is the likeliest class of a classifier of the data's labels, see table 1 of
Shmelkov et al. 2018 (GAN-test, https://arxiv.org/abs/1807.09499).
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from genmodels.errors import UserError
from genmodels.evaluators.base import SampleMetric, Score, Uses
from genmodels.evaluators.conditions import conditions_of
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.reference import Reference
from genmodels.evaluators.results import Mode
from genmodels.evaluators.subject import GeneratedBatch, Subject
from genmodels.fields import SplitName
from genmodels.ranges import PositiveInt


class ConditionAccuracy(SampleMetric):
    """Accuracy of the classifier on `n` samples; the true labels are those that the samples were conditioned on."""

    mode: ClassVar[Mode] = "max"
    kind: ClassVar[str] = "condition_accuracy"
    uses: ClassVar[Uses] = "nothing"
    conditional: ClassVar[bool] = True
    right: Tensor
    total: Tensor

    def __init__(
        self,
        *,
        n: PositiveInt,  # generated samples
        reference: SplitName,  # split whose labels the samples are conditioned on
    ):
        super().__init__()
        self.n = n
        self.reference = reference

    def needs(self, subject: Subject) -> str | None:
        if reason := super().needs(subject):
            return reason
        on = conditions_of(subject.model)
        return None if "label" in on else f"{type(subject.model).__name__} is not conditional on a label"

    def suits(self, features: Features) -> None:
        if not features.tells_labels:
            raise UserError(
                "condition_accuracy needs a classifier of the data's labels, and "
                f"features={features.name or 'inception'} is not one: choose features=classifier"
            )

    def allocate(self, d: int, k: int) -> None:
        for name in ("right", "total"):
            self.add_state(name, torch.zeros((), dtype=torch.float64, device=self.device), dist_reduce_fx="sum")
        super().allocate(d, k)

    def update(self, drawn: GeneratedBatch) -> None:
        labels = drawn.condition["label"].to(drawn.logits.device)
        self.right += (drawn.logits.argmax(1) == labels).sum()
        self.total += len(labels)

    def compute(self, reference: Reference | None = None, generated: Float[Tensor, "n d"] | None = None) -> list[Score]:
        return [Score(self.kind, float(self.right / self.total), None, {})]
