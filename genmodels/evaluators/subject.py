"""What is measured, and how: a model on data, and its generated samples, which all evaluators share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from genmodels.capabilities import Batch, Condition
from genmodels.evaluators.bank import Bank
from genmodels.evaluators.dataset import Dataset
from genmodels.evaluators.distributed import shards
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.pictures import PictureSet
from genmodels.evaluators.precision import Precision
from genmodels.evaluators.reference import Reference, Statistics, reference_of
from genmodels.evaluators.results import Progress
from genmodels.evaluators.shown import Show
from genmodels.trees import first

Draw = Callable[[range], tuple[Batch, Condition]]  # the samples with these numbers, in data units
ToPixels = Callable[[Batch], UInt8[Tensor, "b c h w"]]  # from data units to 0..255


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """The settings of an evaluation."""

    seed: int
    device: torch.device
    precision: Precision  # of the model; metrics compute in float32 or float64
    batch: int  # samples drawn, or images read, at once
    progress: Progress
    show: Show


class GeneratedBatch(NamedTuple):
    """A batch of generated images with their features."""

    features: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]
    pixels: UInt8[Tensor, "b c h w"]  # in 0..255
    condition: Condition  # the conditions of the images; {}: none
    numbers: Int[Tensor, " b"]  # the numbers of the images

    def first(self, n: int) -> "GeneratedBatch":
        """The first `n` of them."""
        return first(self, n)


@runtime_checkable
class Listener(Protocol):
    """An object that gets the first `n` generated images, in any order, each on one process."""

    n: int
    reference: str | None  # the name of the real images to compare with

    @property
    def uses(self) -> str:
        """ "features" if it also needs the features of all images."""

    def begin(self, features: Features, device: torch.device) -> None:
        """Called before the first batch."""

    def update(self, drawn: GeneratedBatch) -> None:
        """Adds a batch of them."""


class SampleSet:
    """Generated samples by number, their features, and the references to compare with.

    Samples are drawn when they are first needed; one pass serves all listeners. Every process must make the same calls.
    """

    def __init__(
        self,
        *,
        draw: Draw,
        to_pixels: ToPixels,
        about: Mapping[str, Any],  # the part of the protocol about sampling
        listeners: Sequence[Listener],
        sources: Mapping[str, PictureSet | Statistics],  # real images, by the names that listeners use
        extractor: Callable[[], Features],  # prepared
        how: Procedure,
    ):
        self.draw = draw
        self.about = about
        self._to_pixels, self._listeners, self._sources, self._extractor, self._how = (
            to_pixels,
            listeners,
            sources,
            extractor,
            how,
        )
        self.progress = how.progress
        self._heard = False
        self._rows = torch.zeros(0, 0)

    @property
    def extractor(self) -> Features:
        """The feature extractor."""
        return self._extractor()

    def source(self, name: str) -> PictureSet | Statistics:
        """The real images with this name, or their statistics."""
        return self._sources[name]

    def reference(self, name: str) -> Reference:
        """The reference with this name, with the features of all images where a listener uses them."""
        rows = any(each.uses == "features" for each in self._listeners if each.reference == name)
        how: dict[str, Any] = {"batch": self._how.batch, "device": self._how.device, "progress": self._how.progress}
        return reference_of(self._sources[name], features=self.extractor, rows=rows, **how)

    def listen(self) -> None:
        """Passes every listener its samples, unless this was done before."""
        if not self._heard:
            self._heard = True
            for each in self._listeners:
                each.begin(self.extractor, self._how.device)
            keep = max((each.n for each in self._listeners if each.uses == "features"), default=0)
            self._pass(self._listeners, keep)

    def features(self, n: int) -> Float[Tensor, "n d"]:
        """float32 features of the first `n` samples on the CPU, the same on every process; computed once."""
        self.listen()
        if n > len(self._rows):
            self._pass([], n)
        return self._rows[:n]

    @torch.no_grad()
    def _pass(self, listeners: Sequence[Listener], keep: int) -> None:
        """Draws samples, passes them to the listeners, and keeps the features of the first `keep`."""
        features, device = self.extractor, self._how.device
        bank = Bank(keep, (features.dim,)) if keep else None
        n = max([keep, *(each.n for each in listeners)])
        self._how.progress("samples", 0, n)
        for part in shards(n, self._how.batch):
            x, condition = self.draw(part)
            pixels = self._to_pixels(x).to(device)
            out, index = features(pixels), torch.as_tensor(part, device=device)
            drawn = GeneratedBatch(out.features, out.logits, pixels, condition, index)
            for each in listeners:
                if each.n > part.start:
                    each.update(drawn.first(each.n - part.start))
            if bank is not None and keep > part.start:
                bank.put(index[: keep - part.start], out.features[: keep - part.start])
            self._how.progress("samples", part.stop, n)
        if bank is not None:
            self._rows = bank.gathered(device)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured."""

    model: nn.Module  # in eval mode
    data: Dataset
    split: str = "test"  # for likelihoods, and in the names of results
    samples: SampleSet | None = None  # of the model; None while only `needs` is called
