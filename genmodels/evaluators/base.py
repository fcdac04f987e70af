"""What an evaluator is: it says whether it applies to a model on data, and measures it.

Those over generated images (`SampleMetric`) share one pass of images through one feature extractor; any other may ask
for generated samples, their features and the conditions they were drawn under, too (`genmodels.evaluators.subject`).
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from genmodels.capabilities import Samples, why_not
from genmodels.errors import UserError
from genmodels.evaluators.dataset import are_pictures, described
from genmodels.evaluators.distributed import rank_and_world
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.reference import Reference, Statistics
from genmodels.evaluators.results import Mode, Progress, Record, metric_name, silent
from genmodels.evaluators.shown import Show
from genmodels.evaluators.subject import GeneratedBatch, Procedure, SampleSet, Subject

Uses = Literal["nothing", "moments", "features"]
SplitName = Literal["train", "val", "test"]
PixelsOf = Callable[[Tensor], Tensor]  # (j,) indices of reference images -> (j, c, h, w) uint8 in 0..255


class Evaluator(ABC):
    """Measures a model on data."""

    mode: ClassVar[Mode]  # which way its results are better, but for those that say otherwise

    @abstractmethod
    def needs(self, subject: Subject) -> str | None:
        """What it needs and does not find in the subject, in words; None: it applies. No samples are drawn yet."""

    @abstractmethod
    def metrics(self, subject: Subject, features: str) -> list[str]:
        """Names of all its results; the best checkpoint follows the first. `features` names the extractor, if any."""

    def check(self, subject: Subject) -> None:  # noqa: B027  most find nothing
        """UserError where it applies and yet could not measure the subject, as far as that is known before the work."""

    @abstractmethod
    def measure(self, subject: Subject, how: Procedure) -> list[Record]:
        """The results, in the order of `metrics`; every process calls it, and one gives the same as many."""


class Score(NamedTuple):
    """One of a sample metric's results, and what its protocol says beyond the common part."""

    kind: str  # how its name begins, such as "fid"
    value: float
    std: float | None
    protocol: dict[str, Any]
    mode: Mode | None = None  # None: that of the metric


class SampleMetric(Evaluator, Metric):
    """Is shown generated images, in any order and from any process; an image is known by its number."""

    kind: ClassVar[str]  # of its first score
    further: tuple[str, ...] = ()  # kinds of the others
    uses: ClassVar[Uses]  # of the generated images and the reference, beside what it is shown
    conditional: ClassVar[bool] = False  # whether it asks what each image was conditioned on

    progress: Progress = staticmethod(silent)  # of what `compute` does, where that takes long

    n: int  # generated images
    reference: str | None  # split of the data that they are laid against

    def needs(self, subject: Subject) -> str | None:
        if reason := why_not(subject.model, Samples):
            return reason
        data = subject.data
        return None if are_pictures(data) else f"{data.name} has no images of integers, but {described(data)}"

    def metrics(self, subject: Subject, features: str) -> list[str]:
        """With features of that name, such as "fid_classifier_1k"."""
        return [metric_name(kind, features, self.n) for kind in (self.kind, *self.further)]

    def measure(self, subject: Subject, how: Procedure) -> list[Record]:
        assert subject.samples is not None
        return self.results(subject.samples, subject.split, how.show)

    def results(self, samples: SampleSet, split: str, show: Show) -> list[Record]:
        """The results over images that may come from anywhere, filed under `split`."""
        self.progress = samples.progress
        reference = None if self.reference is None else samples.reference(self.reference)
        samples.listen()
        generated = samples.features(self.n) if self.uses == "features" else None
        features, world = samples.extractor, {"world_size": rank_and_world()[1]}
        known = {"n_generated": self.n, **features.protocol(), **samples.about, **world}
        records = [
            Record(
                metric=metric_name(score.kind, features.name, self.n),
                split=split,
                value=score.value,
                std=score.std,
                protocol=known | score.protocol,
                mode=score.mode or self.mode,
            )
            for score in self.scores(reference, generated)
        ]
        if self.uses == "features" and self.reference is not None:
            source = samples.source(self.reference)
            assert not isinstance(source, Statistics)
            self.show(lambda index: source.read(index.tolist()), source.name, show)
        return records

    def scores(self, reference: Reference | None, generated: Float[Tensor, "n d"] | None) -> list[Score]:
        """What `compute` gives; that a process has had no image to itself is no news."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*was called before the ``update``")
            return self.compute(reference, generated)

    def begin(self, features: Features, device: torch.device) -> None:
        """Makes ready to be shown images on `device`; UserError where the settings or the features do not allow it."""
        self.suits(features)
        self.to(device).allocate(features.dim, features.classes)

    def allocate(self, d: int, k: int) -> None:
        """Zero states on the metric's device for features (b, d) and logits (b, k); UserError where `n` is too small.

        A subclass makes its own states and then calls this.
        """
        at_least_two(self.n, f"generated samples for {self.kind}")
        self.reset()

    @abstractmethod
    def update(self, drawn: GeneratedBatch) -> None:
        """Takes in some of the images."""

    @abstractmethod
    def compute(self, reference: Reference | None = None, generated: Float[Tensor, "n d"] | None = None) -> list[Score]:
        """The results over all processes, in the order of `metrics`.

        `reference` is that of the split `self.reference`, `generated` the features of the images where it uses those.
        """

    def require(self, n: int, name: str) -> None:
        """UserError where the `n` images of the reference called `name` are fewer than the metric's settings need."""
        at_least_two(n, f"images in {name}")

    def suits(self, features: Features) -> None:  # noqa: B027  most take any
        """UserError where the metric cannot use these features, once they are checked or prepared."""

    def show(self, pixels_of: PixelsOf, reference: str, to: Show) -> None:
        """After `compute`: shows what the metric can beside images of the reference of that name.

        Every process must call it.
        """


def reference_protocol(reference: Reference) -> dict[str, Any]:
    """What the protocol says of a reference."""
    return {
        "reference": reference.name,
        "n_reference": reference.n,
        "reference_fingerprint": reference.fingerprint,
        **preparation_protocol(reference.prepared),
    }


def preparation_protocol(how: str | None) -> dict[str, str]:
    """What the protocol says of how reference images were cut and resized, where that was done."""
    return {} if how is None else {"reference_prepared": how}


def completed(record: Record, mode: Mode, common: dict[str, Any]) -> Record:
    """The record with the evaluator's mode, unless it has its own, and with what all results of an evaluation say."""
    return replace(record, mode=record.mode or mode, protocol=record.protocol | common)


def at_least_two(n: int, what: str) -> None:
    """Refuses to take statistics over fewer than 2 images."""
    if n < 2:
        raise UserError(f"got {n} {what}, expected at least 2: raise the number")
