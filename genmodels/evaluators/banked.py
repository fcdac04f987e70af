"""Metrics that compare the features of all samples with those of the reference; all of them share one bank."""

from abc import abstractmethod
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from genmodels.evaluators.base import SampleMetric, Score, Uses, reference_protocol
from genmodels.evaluators.reference import Reference
from genmodels.evaluators.subject import GeneratedBatch


class BankedMetric(SampleMetric):
    """Keeps nothing in `update`; `compare` gets all features at the end."""

    uses: ClassVar[Uses] = "features"

    @abstractmethod
    def compare(self, reference: Reference, fake: Float[Tensor, "m d"], about: dict[str, Any]) -> list[Score]:
        """The results, in the order of `metrics`; `about` is the part of the protocol about the reference."""

    def update(self, drawn: GeneratedBatch) -> None:
        """Does nothing: the features are in the bank."""

    def compute(self, reference: Reference | None = None, generated: Float[Tensor, "n d"] | None = None) -> list[Score]:
        assert reference is not None and generated is not None
        about = reference_protocol(reference) | {"n_reference": len(reference.features())}
        return self.compare(reference, generated, about)
