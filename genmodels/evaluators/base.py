"""What an evaluator is: over the data (`DataMetric`) or over generated samples (`SampleMetric`).

Both say which capability of a model they require, whether less is better, and the name of
their first result, so that the best checkpoint can follow it. All sample metrics share one
pass of generated images through one feature extractor (`genmodels.evaluators.evaluate`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torchmetrics import Metric

from genmodels.capabilities import Samples
from genmodels.errors import UserError
from genmodels.evaluators.dataset import Data
from genmodels.evaluators.reference import Reference
from genmodels.evaluators.results import Progress, Record, metric_name
from genmodels.evaluators.shown import NOTHING, Show

Mode = Literal["min", "max"]
Needs = Literal["nothing", "moments", "features"]
SplitName = Literal["train", "val", "test"]
PixelsOf = Callable[[Tensor], Tensor]  # (j,) indices of reference images -> (j, c, h, w) uint8 in 0..255


class Score(NamedTuple):
    """One of a sample metric's results, and what its protocol says beyond the common part."""

    kind: str  # how its name begins, such as "fid"
    value: float
    std: float | None
    protocol: dict[str, Any]


class DataMetric(ABC):
    """Lays the model against held-out data."""

    requires: ClassVar[type]
    mode: ClassVar[Mode]

    @abstractmethod
    def primary(self, features: str, levels: int | None) -> str:
        """Name of the first result on data with `levels`; `features` names the extractor, if any."""

    @abstractmethod
    def measure(
        self,
        model: nn.Module,
        data: Data,
        split: str,
        *,
        seed: int,
        device: torch.device,
        progress: Progress,
        show: Show = NOTHING,
    ) -> list[Record]:
        """Results over the split, the primary one first; the same on one process and on many."""


class SampleMetric(Metric):
    """Streams features of generated images, in any order and from any process; a sample is known by its number."""

    requires: ClassVar[type] = Samples
    mode: ClassVar[Mode]
    kind: ClassVar[str]  # of its first score
    needs: ClassVar[Needs]  # what `compute` uses of the reference

    n: int  # generated samples
    reference: str | None  # split of the data that the samples are laid against

    def primary(self, features: str, levels: int | None) -> str:
        """Name of the first result with features of that name, such as "fid_classifier_1k"."""
        return metric_name(self.kind, features, self.n)

    @abstractmethod
    def allocate(self, d: int, k: int) -> None:
        """Zero states on the metric's device for features (b, d) and logits (b, k)."""

    @abstractmethod
    def update(self, features: Float[Tensor, "b d"], logits: Float[Tensor, "b k"], index: Int[Tensor, "b"]) -> None:
        """Takes in the samples with these numbers out of 0..n-1."""

    @abstractmethod
    def compute(self, reference: Reference | None = None) -> list[Score]:
        """The results over all processes, the primary one first; `reference` is that of the split `self.reference`."""

    def require(self, n: int, name: str) -> None:
        """UserError where the `n` images of the reference called `name` are fewer than the metric's settings need."""
        at_least_two(n, f"images in {name}")

    def look(self, pixels: UInt8[Tensor, "b c h w"], index: Int[Tensor, "b"]) -> None:
        """Is shown the samples themselves, in 0..255, beside `update`; only a metric that shows some keeps any."""

    def show(self, pixels_of: PixelsOf, reference: str, to: Show) -> None:
        """After `compute`: shows what the metric can beside images of the reference of that name.

        Every process must call it.
        """


Evaluator = DataMetric | SampleMetric


def described(reference: Reference) -> dict[str, Any]:
    """What the protocol says of a reference."""
    return {
        "reference": reference.name,
        "n_reference": reference.n,
        "reference_fingerprint": reference.fingerprint,
        **prepared(reference.prepared),
    }


def prepared(how: str | None) -> dict[str, str]:
    """What the protocol says of how reference images were cut and resized, where that was done."""
    return {} if how is None else {"reference_prepared": how}


def at_least_two(n: int, what: str) -> None:
    """Refuses to take statistics over fewer than 2 images."""
    if n < 2:
        raise UserError(f"got {n} {what}, expected at least 2: raise the number")
