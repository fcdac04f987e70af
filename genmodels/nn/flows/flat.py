"""Samples of any shape as vectors, for bijections of vectors."""

from jaxtyping import Float
from torch import Tensor

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.nn.flows.bijections import Bijection, Reals

Vectors = Float[Tensor, "b d"]


class Flat(Bijection):
    """`inner` on flattened samples: entries in raster order, one channel after the other."""

    def __init__(
        self,
        *,
        inner: Bijection,  # on (d,)
    ):
        super().__init__()
        self.inner = inner

    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        z, ladj = self.inner(x.flatten(1), context)
        return z.view_as(x), ladj

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        return self.inner.inverse(z.flatten(1), context).view_as(z)
