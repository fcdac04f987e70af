"""Spaces: maps between samples in data units and codes, the numbers that a model is trained on.

For a code u = encode(x) the density of x has the lower bound

    log p(x) >= log p(u) + log p(x|u)/q(u|x),

with equality if x determines u and u determines x. `encode` also returns the second term, the correction, in nats per
sample; it is 0 if u is x in other units.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import log

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from genmodels.capabilities import Batch, PerSample, Protocol
from genmodels.errors import UserError
from genmodels.fields import Field
from genmodels.ranges import FiniteFloat, PositiveFloat, PositiveInt, TwoOrMore
from genmodels.seeds import GLOBAL, Random
from genmodels.units import quantize, to_unit

Code = Shaped[Tensor, "b *code"]
RealCode = Float[Tensor, "b *code"]


class Space(nn.Module, ABC):
    """Encodes data for a model, and decodes the codes that the model draws."""

    x: Field  # the field of samples
    code: Field  # the field of codes
    range: tuple[float, float] | None = None  # bounds of clean codes, to which samplers may clip; None: no bounds
    stochastic: bool = False  # whether `encode` draws random numbers, which makes a likelihood a lower bound
    lossless: bool = True  # whether u determines x; if not, a likelihood is a lower bound as well

    @abstractmethod
    def encode(self, x: Batch, rng: Random = GLOBAL) -> tuple[Code, PerSample]:
        """u, and log p(x|u)/q(u|x) in nats, (b,)."""

    @abstractmethod
    def decode(self, u: Code, rng: Random = GLOBAL) -> Batch:
        """A sample for each code, in data units; values outside the range of the data are clamped to it."""

    def middle(self, x: Batch) -> Code:
        """The code of each sample without randomness; stochastic spaces override it with a typical draw."""
        return self.encode(x)[0]

    def protocol(self) -> Protocol:
        """The part of a likelihood's protocol about this space, such as `dequantization`."""
        return {}


class Pixels(Space):
    """Integers 0..levels-1 on [-1, 1] and back, rounded. The correction is 0: models score the integers."""

    range = (-1.0, 1.0)

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],
        levels: TwoOrMore,  # values that an entry can take
    ):
        super().__init__()
        self.levels = levels
        self.x = Field("image", tuple(shape), levels)
        self.code = self.x._replace(levels=None)

    def encode(self, x: Batch, rng: Random = GLOBAL) -> tuple[Code, PerSample]:
        assert isinstance(x, Tensor)
        return to_unit(x, self.levels), torch.zeros(len(x), device=x.device)

    def decode(self, u: Code, rng: Random = GLOBAL) -> Batch:
        return quantize(u, self.levels)


class Standardized(Space):
    """Real numbers x as u = (x - mean)/std; ladj = -d log std."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],
        levels: TwoOrMore | None,  # of the data; must be None, real numbers: integers are refused
        mean: FiniteFloat,  # of the data, subtracted
        std: PositiveFloat,  # of the data, divided by
    ):
        super().__init__()
        if levels is not None:
            raise UserError(
                f"model/space=standardized got integers 0..{levels - 1} and expected real numbers (levels: null);"
                " choose data of points, or for integers model/space=dequantized"
            )
        if std <= 0:
            raise UserError(f"model.space.std is {std}, expected a number above 0")
        self.mean, self.std = mean, std
        self.x = self.code = Field("points", tuple(shape), None)

    def encode(self, x: Batch, rng: Random = GLOBAL) -> tuple[Code, PerSample]:
        assert isinstance(x, Tensor)
        u = (x - self.mean) / self.std
        return u, u.new_full((len(x),), -self.code.dims * log(self.std))

    def decode(self, u: Code, rng: Random = GLOBAL) -> Batch:
        return u * self.std + self.mean


class Symbols(Space):
    """Integers unchanged, for models that embed them as symbols."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],
        levels: TwoOrMore,  # how many symbols there are
    ):
        super().__init__()
        self.x = self.code = Field("tokens", tuple(shape), levels)

    def encode(self, x: Batch, rng: Random = GLOBAL) -> tuple[Code, PerSample]:
        assert isinstance(x, Tensor)
        return x, torch.zeros(len(x), device=x.device)

    def decode(self, u: Code, rng: Random = GLOBAL) -> Batch:
        return u
