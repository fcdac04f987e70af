"""A metric that keeps the features of every sample and lays them against those of the reference."""

from abc import abstractmethod
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from genmodels.evaluators.bank import Bank
from genmodels.evaluators.base import Needs, SampleMetric, Score, described
from genmodels.evaluators.reference import Reference


class BankedMetric(SampleMetric):
    """Keeps what is streamed; `compare` measures it."""

    needs: ClassVar[Needs] = "features"

    @abstractmethod
    def compare(self, real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], about: dict[str, Any]) -> list[Score]:
        """The results, the primary one first; `about` is what their protocols say of the reference."""

    def allocate(self, d: int, k: int) -> None:
        self.bank = Bank(self.n, (d,))
        self.reset()

    def update(self, features: Float[Tensor, "b d"], logits: Float[Tensor, "b k"], index: Int[Tensor, "b"]) -> None:
        self.bank.put(index, features)

    def compute(self, reference: Reference | None = None) -> list[Score]:
        assert reference is not None
        real, fake = reference.features(), self.bank.gathered(self.device)
        return self.compare(real, fake, described(reference) | {"n_reference": len(real)})
