"""A metric over the features of every sample, laid against those of the reference; they are kept once for all such."""

from abc import abstractmethod
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from genmodels.evaluators.base import SampleMetric, Score, Uses, reference_protocol
from genmodels.evaluators.reference import Reference
from genmodels.evaluators.subject import GeneratedBatch


class BankedMetric(SampleMetric):
    """Keeps nothing of what it is shown; `compare` measures the features."""

    uses: ClassVar[Uses] = "features"

    @abstractmethod
    def compare(self, reference: Reference, fake: Float[Tensor, "m d"], about: dict[str, Any]) -> list[Score]:
        """The results, in the order of `metrics`; `about` is what their protocols say of the reference."""

    def update(self, drawn: GeneratedBatch) -> None:
        """Nothing: the features are in the bank."""

    def compute(self, reference: Reference | None = None, generated: Float[Tensor, "n d"] | None = None) -> list[Score]:
        assert reference is not None and generated is not None
        about = reference_protocol(reference) | {"n_reference": len(reference.features())}
        return self.compare(reference, generated, about)
