"""The base classes of evaluators: an evaluator says whether it applies to a model on data, and measures it.

Metrics over generated images (`SampleMetric`) share one pass of images through one feature extractor. Any other
evaluator can also ask for generated samples, their features and their conditions (`genmodels.evaluators.subject`).
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
PixelsOf = Callable[[Tensor], Tensor]  # (j,) indices of reference images -> (j, c, h, w) uint8 in 0..255


class Evaluator(ABC):
    """Measures a model on data."""

    mode: ClassVar[Mode]  # whether lower or higher is better; a record can have its own mode

    @abstractmethod
    def needs(self, subject: Subject) -> str | None:
        """What the subject lacks for this evaluator, as text; None: it applies. No samples are drawn yet."""

    @abstractmethod
    def metrics(self, subject: Subject, features: str) -> list[str]:
        """Names of all results; the first decides the best checkpoint. `features` names the extractor, if any."""

    def check(self, subject: Subject) -> None:  # noqa: B027  most find nothing
        """UserError where it applies but cannot measure the subject, as far as this is known before the work."""

    @abstractmethod
    def measure(self, subject: Subject, how: Procedure) -> list[Record]:
        """The results, in the order of `metrics`; the same for any number of processes, which all call it."""


class Score(NamedTuple):
    """One result of a sample metric, and its own part of the protocol."""

    kind: str  # the beginning of its name, such as "fid"
    value: float
    std: float | None
    protocol: dict[str, Any]
    mode: Mode | None = None  # None: that of the metric


class SampleMetric(Evaluator, Metric):
    """A metric over generated images, which arrive in any order and from any process; each has a number."""

    kind: ClassVar[str]  # of its first score
    further: tuple[str, ...] = ()  # kinds of the others
    uses: ClassVar[Uses]  # what it needs of all images and of the reference, beside `update`
    conditional: ClassVar[bool] = False  # whether it needs the condition of each image

    progress: Progress = staticmethod(silent)  # of a slow `compute`

    n: int  # generated images
    reference: str | None  # split of the data that they are compared with

    def needs(self, subject: Subject) -> str | None:
        if reason := why_not(subject.model, Samples):
            return reason
        data = subject.data
        return None if are_pictures(data) else f"{data.name} has no images of integers, but {described(data)}"

    def metrics(self, subject: Subject, features: str) -> list[str]:
        """Names with these features, such as "fid_classifier_1k"."""
        return [metric_name(kind, features, self.n) for kind in (self.kind, *self.further)]

    def measure(self, subject: Subject, how: Procedure) -> list[Record]:
        assert subject.samples is not None
        return self.results(subject.samples, subject.split, how.show)

    def results(self, samples: SampleSet, split: str, show: Show) -> list[Record]:
        """The results over any images, recorded under `split`."""
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
        """The result of `compute`, without the warning of a process that got no images."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*was called before the ``update``")
            return self.compute(reference, generated)

    def begin(self, features: Features, device: torch.device) -> None:
        """Prepares for images on `device`; UserError where the settings or the features do not allow it."""
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
        """Adds a batch of images."""

    @abstractmethod
    def compute(self, reference: Reference | None = None, generated: Float[Tensor, "n d"] | None = None) -> list[Score]:
        """The results over all processes, in the order of `metrics`.

        `reference` belongs to the split `self.reference`; `generated` are the features of the images, if it uses them.
        """

    def require(self, n: int, name: str) -> None:
        """UserError where `n`, the number of images of the reference `name`, is too small for the settings."""
        at_least_two(n, f"images in {name}")

    def suits(self, features: Features) -> None:  # noqa: B027  most take any
        """UserError where the metric cannot use these features, which are checked or prepared already."""

    def show(self, pixels_of: PixelsOf, reference: str, to: Show) -> None:
        """Shows pictures of samples and images of the reference, after `compute`, if the metric has some.

        Every process must call it.
        """


def reference_protocol(reference: Reference) -> dict[str, Any]:
    """The part of the protocol about a reference."""
    return {
        "reference": reference.name,
        "n_reference": reference.n,
        "reference_fingerprint": reference.fingerprint,
        **preparation_protocol(reference.prepared),
    }


def preparation_protocol(how: str | None) -> dict[str, str]:
    """The part of the protocol about cropping and resizing of reference images; {} without any."""
    return {} if how is None else {"reference_prepared": how}


def completed(record: Record, mode: Mode, common: dict[str, Any]) -> Record:
    """The record with the evaluator's mode, unless it has its own, and the protocol that all results share."""
    return replace(record, mode=record.mode or mode, protocol=record.protocol | common)


def at_least_two(n: int, what: str) -> None:
    """UserError where there are fewer than 2 images."""
    if n < 2:
        raise UserError(f"got {n} {what}, expected at least 2: raise the number")
