"""Other units: a scale and a shift that are not learned."""

from math import log

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.nn.flows.bijections import Bijection, Reals
from genmodels.ranges import FiniteFloat, PositiveFloat


class FixedAffine(Bijection):
    """z = scale · x + shift for every entry, such as 2 x - 1 from [0, 1] to [-1, 1]; ladj = d log scale."""

    def __init__(
        self,
        *,
        scale: PositiveFloat,
        shift: FiniteFloat,
    ):
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        return self.scale * x + self.shift, x.new_full((len(x),), x[0].numel() * log(self.scale))

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        return (z - self.shift) / self.scale
