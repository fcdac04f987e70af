"""What a model sees of the data: a space between data units and the numbers that a network is given.

With u = encode(x) the density of x is bounded from below, and with equality where u determines x and x u, by

    log p(x) >= log p(u) + log p(x|u)/q(u|x),

whose second term, in nats per sample, `encode` returns: 0 where x and u are the same in other numbers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import log

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from genmodels.capabilities import Batch, PerSample, Protocol
from genmodels.errors import UserError
from genmodels.fields import Field
from genmodels.ranges import FiniteFloat, PositiveFloat, PositiveInt, TwoOrMore
from genmodels.seeds import GLOBAL, Random
from genmodels.units import quantize, to_unit

Code = Shaped[Tensor, "b *code"]


class Space(nn.Module, ABC):
    """Encodes samples for a model, and decodes what the model draws."""

    x: Field  # what `encode` takes
    code: Field  # what `encode` gives
    range: tuple[float, float] | None = None  # which clean codes can have, where there are bounds: samplers may clip
    stochastic: bool = False  # whether `encode` draws random numbers, which makes a likelihood a lower bound
    lossless: bool = True  # whether u determines x; where not, a likelihood is a lower bound as well

    @abstractmethod
    def encode(self, x: Batch, rng: Random = GLOBAL) -> tuple[Code, PerSample]:
        """u, and log p(x|u)/q(u|x) in nats, (b,)."""

    @abstractmethod
    def decode(self, u: Code, rng: Random = GLOBAL) -> Batch:
        """A sample of each code, in data units; what lies outside the data's range goes to its border."""

    def middle(self, x: Batch) -> Code:
        """The code of each sample without randomness; what draws overrides it by its typical draw."""
        return self.encode(x)[0]

    def protocol(self) -> Protocol:
        """What a likelihood has to say of this space, such as `dequantization`."""
        return {}


class Pixels(Space):
    """Integers 0..levels-1 on [-1, 1] and back, rounded. The correction is 0: whoever uses it scores the integers."""

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
        levels: TwoOrMore | None,  # of the data, which None says are real numbers; integers are refused
        mean: FiniteFloat,  # of the data, subtracted
        std: PositiveFloat,  # of the data, by which they are divided
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
    """Integers as they are: a model of symbols embeds them."""

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
