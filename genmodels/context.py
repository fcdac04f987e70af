"""What a network gets beside its input: the context, an embedded condition.

A conditioner (`Conditioner`) turns a condition, in the data's own units, into a context. Networks take the context and
know nothing of labels, texts or images. `sizes` in a conditioner's YAML says which parts a context has and how wide
they are, so that a network can be built for them: {} unconditional, {"vector": 11}, {"maps": 3}, {"tokens": 128}.
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
    """An embedded condition. A part that is absent is None; an unconditional network gets no part at all."""

    vector: Float[Tensor, "b d"] | None = None
    tokens: Float[Tensor, "b l e"] | None = None  # a sequence
    mask: Bool[Tensor, "b l"] | None = None  # True for the tokens that exist; None: all
    maps: Float[Tensor, "b c h w"] | None = None  # feature maps of the size of the image

    def repeat(self, k: int) -> "Context":
        """(b, ...) to (k b, ...): the whole batch, k times."""
        return Context(*(None if t is None else t.repeat(k, *[1] * (t.ndim - 1)) for t in self))

    def where(self, keep: Bool[Tensor, " b"], other: "Context") -> "Context":
        """Each sample's own context where `keep`, else that of `other`."""
        pairs = zip(self, other, strict=True)
        return Context(*(None if a is None or b is None else torch.where(_column(keep, a), a, b) for a, b in pairs))


NO_CONTEXT = Context()


class Conditioner(nn.Module, ABC):
    """Embeds a condition; in training it drops a sample's whole condition with probability `drop`."""

    fields: Fields  # the parts of a condition that it uses; {}: none
    sizes: Sizes  # the parts of its contexts and their widths
    drop: float  # probability of "no condition" in training, which makes guidance possible

    @abstractmethod
    def embed(self, condition: Condition) -> Context:
        """The context of a complete condition."""

    @abstractmethod
    def absent(self, n: int) -> Context:
        """The context of `n` samples without a condition."""

    @abstractmethod
    def draw(self, n: int, rng: Random) -> Condition:
        """Conditions for `n` samples: labels uniformly. UserError where conditions cannot be generated."""

    def forward(self, condition: Condition) -> Context:
        """The context; in training, conditions are dropped at random."""
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
        """The parts of a condition that it uses, for `n` samples; UserError where one is missing."""
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
        """The condition of `n` new samples: the given one, or a drawn one where none is given."""
        return self.given(condition, n) if condition or not self.fields else self.draw(n, rng)


def widths(sizes: Sizes, takes: tuple[str, ...], who: str) -> dict[str, int]:
    """Widths of the context parts that a network takes, 0 for an absent one; UserError where there are other parts.

    For the constructor of a network: `sizes` comes from its YAML, `who` is its name in the error message.
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
