"""From the unit interval to [-1, 1]."""

from math import log

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.nn.flows.bijections import Bijection, Reals


class Centred(Bijection):
    """z = 2 x - 1; ladj = d log 2."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        return 2 * x - 1, x.new_full((len(x),), x[0].numel() * log(2))

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        return (z + 1) / 2
