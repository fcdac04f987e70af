"""The network of an autoregressive model: it computes the parameters of every site from the sites before it.

A site is a group of entries of a code that are drawn together: one entry, a pixel with its channels, or a token. The
network's `order` says which entries form each site and in which order the sites come. Integers enter the network as
numbers on [-1, 1] or [0, 1] (pixels) or as learned vectors (symbols, which have no natural order).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from math import prod
from typing import Literal

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn

from genmodels.capabilities import Protocol
from genmodels.context import Context
from genmodels.errors import UserError
from genmodels.units import to_unit

Codes = Integer[Tensor, "b *shape"]
Order = Int[Tensor, "sites v"]
MOST_WEIGHTS = 10**9  # of a layer that sees all entries: 4 GB in float32
InputsName = Literal["scaled", "fractions", "embedded"]


class Stepper(ABC):
    """Goes once over the sites of `n` codes in the network's order and caches what it has computed."""

    @abstractmethod
    def step(self, values: Int[Tensor, "n v"] | None) -> Float[Tensor, "n k"]:
        """Takes the values of the previous site (None at the first) and returns the parameters of the next one."""


class CausalNetwork(nn.Module, ABC):
    """Computes the parameters of all sites at once (for training) and one by one (for sampling)."""

    order: Order  # for each site, in drawing order: the indices of its entries in the flattened code
    one_order: bool = True  # whether `passes` has this order alone

    @abstractmethod
    def forward(self, codes: Codes, context: Context) -> Float[Tensor, "b k sites"]:
        """Parameters of every site, in drawing order, each given the sites before it."""

    @abstractmethod
    def stepper(self, n: int, context: Context) -> Stepper:
        """Computes the same parameters site by site for `n` codes: `forward` in eval mode, up to rounding."""

    def passes(self, codes: Codes, context: Context) -> Iterator[tuple[Order, Float[Tensor, "b k sites"]]]:
        """The orders that the network has now and the parameters in each; a code has the mean of the probabilities."""
        yield self.order, self(codes, context)

    def likelihood_protocol(self) -> Protocol:
        """What a likelihood's protocol has to say of the network: over how many passes it is a mean, and of what."""
        return {}

    def sampling_protocol(self) -> Protocol:
        """What the samples' protocol has to say of the network: which of its passes they are drawn by."""
        return {}


class Inputs(nn.Module):
    """Each integer 0..levels-1 as `features` numbers: one on [-1, 1] (scaled) or [0, 1] (fractions), or a vector."""

    origin: Tensor  # knows the dtype

    def __init__(self, *, inputs: InputsName, levels: int, width: int):
        super().__init__()
        self.levels, self.fractions = levels, inputs == "fractions"
        self.embedding = nn.Embedding(levels, width) if inputs == "embedded" else None
        self.features = width if inputs == "embedded" else 1
        self.register_buffer("origin", torch.zeros(()), persistent=False)

    def forward(self, values: Integer[Tensor, "*s"]) -> Float[Tensor, "*s features"]:
        if self.embedding is not None:
            return self.embedding(values.long())
        x = values / (self.levels - 1) if self.fractions else to_unit(values, self.levels)
        return x.to(self.origin.dtype)[..., None]


def as_image(shape: Sequence[int], who: str) -> tuple[int, int, int]:
    """(c, h, w) of an image or of a map (h, w) of symbols, which has one channel; UserError for other shapes."""
    if len(shape) not in (2, 3):
        raise UserError(
            f"{who} takes images (c, h, w) or maps (h, w), and the samples have shape {list(shape)}; "
            "choose another model, such as model=transformer"
        )
    c, h, w = [1] * (3 - len(shape)) + list(shape)
    return c, h, w


def raster_order(channels: int, pixels: int) -> Order:
    """Each pixel with its channels is a site, row by row: (pixels, channels)."""
    return torch.arange(channels * pixels).view(channels, pixels).T.contiguous()


def entries_in_turn(shape: Sequence[int]) -> Order:
    """Every entry is a site, in raster order and within a pixel by channel: (entries, 1)."""
    channels = shape[0] if len(shape) == 3 else 1
    return raster_order(channels, prod(shape) // channels).reshape(-1, 1)


def require_few_weights(n_in: int, n_out: int, who: str, remedy: str) -> None:
    """UserError for a layer from all entries, or to the parameters of all entries, with more than 10^9 weights."""
    if n_in * n_out > MOST_WEIGHTS:
        raise UserError(
            f"{who} would have {n_in * n_out:.2g} weights in a layer of {n_in} inputs and {n_out} outputs, expected at "
            f"most {MOST_WEIGHTS:.0e}; {remedy}, or choose smaller samples or fewer levels"
        )
