"""What a network is told beside its input: a condition, embedded.

A conditioner (`Conditioner`) turns a condition, in the data's own units, into a context; networks take the context and
know nothing of labels, texts or images. `sizes`, which stands in a conditioner's YAML, says which parts of a context
there are and how wide they are, so that a network is built for them: {} unconditional, {"vector": 11}, {"maps": 3},
{"tokens": 128}.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from genmodels.capabilities import Condition
from genmodels.errors import UserError
from genmodels.fields import Fields
from genmodels.ranges import PositiveInt
from genmodels.seeds import Random

Sizes = Mapping[str, PositiveInt]  # part of a context: its width


class Context(NamedTuple):
    """An embedded condition; what there is not is None, and an unconditional network is told nothing."""

    vector: Float[Tensor, "b d"] | None = None
    tokens: Float[Tensor, "b l e"] | None = None  # a sequence
    mask: Bool[Tensor, "b l"] | None = None  # which of the sequence are there; None: all
    maps: Float[Tensor, "b c h w"] | None = None  # features of an image's size

    def repeat(self, k: int) -> "Context":
        """(b, ...) to (k b, ...): the whole batch, k times."""
        return Context(*(None if t is None else t.repeat(k, *[1] * (t.ndim - 1)) for t in self))

    def where(self, keep: Bool[Tensor, " b"], other: "Context") -> "Context":
        """Each sample's own context where `keep`, else that of `other`."""
        pairs = zip(self, other, strict=True)
        return Context(*(None if a is None or b is None else torch.where(_column(keep, a), a, b) for a, b in pairs))


NO_CONTEXT = Context()


class Conditioner(nn.Module, ABC):
    """Embeds a condition; in training it leaves out a sample's whole condition with probability `drop`."""

    fields: Fields  # what it takes of a condition; {}: nothing
    sizes: Sizes  # what its contexts have
    drop: float  # probability of "no condition" in training, which makes guidance possible

    @abstractmethod
    def embed(self, condition: Condition) -> Context:
        """The context of conditions that are all there."""

    @abstractmethod
    def absent(self, n: int) -> Context:
        """The context of `n` samples that are told of no condition."""

    @abstractmethod
    def draw(self, n: int, rng: Random) -> Condition:
        """Conditions for `n` samples: labels uniformly. UserError where conditions cannot be made up."""

    def forward(self, condition: Condition) -> Context:
        """The context, in training with conditions left out at random."""
        context = self.embed(condition)
        if not (self.training and self.drop and self.fields):
            return context
        n = len(next(iter(condition.values())))
        keep = torch.rand(n, device=self.device) >= self.drop
        return context.where(keep, self.absent(n))

    @property
    def device(self) -> torch.device:
        tensor = next((t for each in (self.parameters(), self.buffers()) for t in each), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def given(self, condition: Condition, n: int) -> Condition:
        """What it takes of a condition, for `n` samples to score or to change; UserError where it is not there."""
        for name, field in self.fields.items():
            found = condition.get(name)
            if found is None:
                have = f"only {', '.join(condition)}" if condition else "none"
                raise UserError(
                    f"this model is conditional on {name} ({field}) and got {have}; give condition={{'{name}': ...}}"
                )
            if tuple(found.shape) != (n, *field.shape):
                raise UserError(
                    f"the condition {name} has shape {list(found.shape)}, expected {[n, *field.shape]}: one {field} "
                    "for each sample"
                )
        return {name: condition[name].to(self.device) for name in self.fields}

    def given_or_drawn(self, condition: Condition, n: int, rng: Random) -> Condition:
        """The condition of `n` new samples: what is given, or drawn where nothing is."""
        return self.given(condition, n) if condition or not self.fields else self.draw(n, rng)


def widths(sizes: Sizes, takes: tuple[str, ...], who: str) -> dict[str, int]:
    """Widths of the parts that a network takes, 0 where there is none; UserError where there are others.

    For the constructor of a network: `context` is what its YAML says, `who` its name in a sentence.
    """
    if unknown := sorted(sizes.keys() - set(takes)):
        raise UserError(
            f"{who} takes {' and '.join(takes) or 'no condition'} of a condition, and model.conditioner gives "
            f"{', '.join(unknown)}; choose another model/conditioner, or another network"
        )
    return {name: sizes.get(name, 0) for name in takes}


def _column(keep: Bool[Tensor, " b"], like: Tensor) -> Tensor:
    return keep.view(-1, *[1] * (like.ndim - 1))


class Unconditional(Conditioner):
    """No condition at all."""

    fields: Fields = {}
    drop: float = 0.0

    def __init__(
        self,
        *,
        sizes: Sizes,  # {}
    ):
        super().__init__()
        self.sizes = sizes

    def embed(self, condition: Condition) -> Context:
        return NO_CONTEXT

    def absent(self, n: int) -> Context:
        return NO_CONTEXT

    def draw(self, n: int, rng: Random) -> Condition:
        return {}
