"""Pictures of a model: samples, completions, reconstructions, a film of its denoising, translations.

Pictures with the same seed differ only because of the model: their random numbers, conditions and originals are the
same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from genmodels.capabilities import Completes, Condition, Denoises, Encodes, Samples, Translates, can
from genmodels.data.base import Data, Split
from genmodels.fields import Field, Fields, SplitName
from genmodels.kinds import kind_of
from genmodels.kinds.base import Filmed, Kind, NamedSamples, Pictured, SideBySide
from genmodels.seeds import GLOBAL, ByNumber
from genmodels.trees import Tree, count, first, take, to

CPU = torch.device("cpu")
FILMED = 4  # samples in a film strip: the first of the grid


@dataclass(frozen=True)
class ModelPictures:
    """Pictures of a model in eval mode, with its training data."""

    model: Any
    data: Data
    split: SplitName  # the split of the originals and conditions: its first samples
    n: int  # samples in a picture
    frames: int  # moments in a film strip
    device: torch.device
    seed: int

    @property
    def kind(self) -> Kind:
        return kind_of(self.data.x)

    @property
    def field(self) -> Field:
        """The field of samples that are one tensor."""
        assert isinstance(self.data.x, Field)
        return self.data.x

    def pictures(self) -> dict[str, Image]:
        """Every picture that the model and the kind of the data allow, by name."""
        kind, pictures = self.kind, {}
        if isinstance(kind, Pictured) and (can(self.model, Samples) or kind.dots):
            pictures["samples"] = self.dots(kind) if kind.dots else self.samples(kind)
        if isinstance(kind, SideBySide):
            pictures |= self.beside(kind)
        return pictures

    def beside(self, kind: SideBySide) -> dict[str, Image]:
        """The pictures that show the output of the model beside its input."""
        model, pictures = self.model, {}
        if can(model, Completes):
            pictures["completions"] = self.completions(kind)
        if can(model, Encodes):
            pictures["reconstructions"] = self.reconstructions(kind)
        if can(model, Denoises) and isinstance(kind, Filmed):
            pictures["film"] = self.film(kind)
        if can(model, Translates):
            pictures |= self.translations(kind)
        return pictures

    def samples(self, kind: Pictured) -> Image:
        condition = self.condition(self.n)
        x = self.model.sample(self.n, condition, ByNumber(self.seed, 0, self.n))
        data = to(self.rows(self.n).x, CPU) if lends_rows(self.model) else None
        return kind.picture(to(x, CPU), self.model, to(condition, CPU), data)

    def dots(self, kind: Pictured) -> Image:
        """Samples as dots: very many, so that they share one generator."""
        data = first(self.data.split(self.split).x, kind.dots)
        n, x = count(data), None
        if can(self.model, Samples):
            x = self.model.sample(n, self.condition(n), GLOBAL).cpu()
        return kind.picture(x, self.model, data=data)

    def completions(self, kind: SideBySide) -> Image:
        """Originals above what the model makes of their first half."""
        x, condition = self.own_rows()
        completed = self.model.complete(x, self.model.sites // 2, condition, ByNumber(self.seed, 0, count(x)))
        return self.stacked(kind, data=x, completion=completed)

    def reconstructions(self, kind: SideBySide) -> Image:
        """Originals above their reconstructions."""
        x, condition = self.own_rows()
        x_hat = self.model.decode(self.model.encode(x, condition), condition)
        return self.stacked(kind, data=x, reconstruction=x_hat)

    def film(self, kind: Filmed) -> Image:
        film = self.model.film(FILMED, self.condition(FILMED), ByNumber(self.seed, 0, FILMED))
        return kind.film(evenly_spaced(film, self.frames))

    def translations(self, kind: SideBySide) -> dict[str, Image]:
        """Originals above their translations, for each direction."""
        x, condition = self.data.split(self.split)
        pictures = {}
        for source in range(self.model.domains):
            chosen = torch.nonzero(condition["label"] == source).flatten()[: self.n]
            originals = to(take(x, chosen), self.device)
            for target in range(self.model.domains) if len(chosen) else ():
                if target != source:
                    made = self.model.translate(originals, source, target, ByNumber(self.seed, 0, len(chosen)))
                    rows = {f"domain {source}": originals, f"as {target}": made}
                    pictures[f"translations_{source}_to_{target}"] = self.stacked(kind, **rows)
        return pictures

    def stacked(self, kind: SideBySide, **rows: Tensor) -> Image:
        """Rows of samples below each other, with their names."""
        return kind.stacked([NamedSamples(name, x.cpu(), self.field) for name, x in rows.items()])

    # What the model is conditioned on

    def condition(self, n: int) -> Condition:
        """Conditions of `n` samples: labels 0, 1, 2, ..., cyclically; any other condition comes from the data."""
        fields = condition_of(self.model)
        if lends_rows(self.model):
            return to({name: self.rows(n).condition[name] for name in fields}, self.device)
        return {name: torch.arange(n, device=self.device) % (field.levels or 1) for name, field in fields.items()}

    def rows(self, n: int) -> Split:
        """The first `n` rows of the split, cyclically where it has fewer."""
        split = self.data.split(self.split)
        return Split(*(take(tree, torch.arange(n) % count(split.x)) for tree in split))

    def own_rows(self) -> Split:
        """The first samples of the split and the conditions that the model uses, on the device."""
        x, condition = (to(first(tree, self.n), self.device) for tree in self.data.split(self.split))
        return Split(x, {name: condition[name] for name in condition_of(self.model)})


def condition_of(model: Any) -> Fields:
    """What a model is conditional on; {}: nothing."""
    return getattr(model, "condition", {})


def lends_rows(model: Any) -> bool:
    """Whether a model has conditions that only the data can provide: any other than labels."""
    return bool(condition_of(model).keys() - {"label"})


def needs_rows(model: Any, data: Data) -> bool:
    """Whether pictures of this model show samples of the data."""
    shown = any(can(model, capability) for capability in (Completes, Encodes, Translates))
    return has_dots(data) or shown or lends_rows(model)


def has_dots(data: Data) -> bool:
    """Whether samples are shown as dots, beside some of the data."""
    kind = kind_of(data.x)
    return isinstance(kind, Pictured) and kind.dots > 0


def evenly_spaced(film: Iterable[Tree], n: int) -> list[Tree]:
    """At most `n` moments of a film, about evenly spaced, the first and the last included.

    A long film is never in memory as a whole: it keeps every moment, then every second one, every fourth, ...
    """
    kept, stride, last = [], 1, None
    for i, x in enumerate(film):
        last = to(x, CPU)
        if i % stride == 0:
            kept.append(last)
        if len(kept) > 8 * n:
            kept, stride = kept[::2], 2 * stride
    if last is not None and kept[-1] is not last:
        kept.append(last)
    chosen = torch.linspace(0, len(kept) - 1, min(n, len(kept))).round().long()
    return [kept[i] for i in chosen]
