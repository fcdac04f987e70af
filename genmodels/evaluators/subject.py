"""What is measured, and how: a model on data, and its generated samples, drawn once for all who want them."""

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
    """How something is measured."""

    seed: int
    device: torch.device
    precision: Precision  # of the model; metrics compute in float32 or float64
    batch: int  # samples drawn, or images looked at, at a time
    progress: Progress
    show: Show


class GeneratedBatch(NamedTuple):
    """Some of the generated images and what was seen in them."""

    features: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]
    pixels: UInt8[Tensor, "b c h w"]  # in 0..255
    condition: Condition  # what each was conditioned on; {}: nothing
    numbers: Int[Tensor, " b"]  # which of the images they are

    def first(self, n: int) -> "GeneratedBatch":
        """The first `n` of them."""
        return first(self, n)


@runtime_checkable
class Listener(Protocol):
    """Whoever is shown the first `n` generated images, in any order, each by one process."""

    n: int
    reference: str | None  # under which name it asks for real images to lay them against

    @property
    def uses(self) -> str:
        """Whether it asks for the rows of features, too: then "features"."""

    def begin(self, features: Features, device: torch.device) -> None:
        """Before the first of them."""

    def update(self, drawn: GeneratedBatch) -> None:
        """Takes in some of them."""


class SampleSet:
    """Generated samples by number, their features, and the references that they are laid against.

    Nothing is drawn before it is asked for; then one pass serves all listeners. Every process must ask alike.
    """

    def __init__(
        self,
        *,
        draw: Draw,
        to_pixels: ToPixels,
        about: Mapping[str, Any],  # what the protocol says of how they were drawn
        listeners: Sequence[Listener],
        sources: Mapping[str, PictureSet | Statistics],  # of real images, by the name under which one is asked for
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
        """What sees features in the images."""
        return self._extractor()

    def source(self, name: str) -> PictureSet | Statistics:
        """The real images, or what is known of them, under this name."""
        return self._sources[name]

    def reference(self, name: str) -> Reference:
        """Their features; with rows where one of the listeners uses them."""
        rows = any(each.uses == "features" for each in self._listeners if each.reference == name)
        how: dict[str, Any] = {"batch": self._how.batch, "device": self._how.device, "progress": self._how.progress}
        return reference_of(self._sources[name], features=self.extractor, rows=rows, **how)

    def listen(self) -> None:
        """Shows every listener its samples, unless that was done."""
        if not self._heard:
            self._heard = True
            for each in self._listeners:
                each.begin(self.extractor, self._how.device)
            keep = max((each.n for each in self._listeners if each.uses == "features"), default=0)
            self._pass(self._listeners, keep)

    def features(self, n: int) -> Float[Tensor, "n d"]:
        """float32 features of the first `n` samples on the CPU, the same on every process; kept once for all."""
        self.listen()
        if n > len(self._rows):
            self._pass([], n)
        return self._rows[:n]

    @torch.no_grad()
    def _pass(self, listeners: Sequence[Listener], keep: int) -> None:
        """Draws samples, shows them to the listeners, and keeps the features of the first so many."""
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
    split: str = "test"  # what likelihoods are taken over, and results are filed under
    samples: SampleSet | None = None  # of the model; None: it is only asked what applies
