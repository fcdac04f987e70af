"""Bijections: maps that are undone exactly and that say by how much they change volume.

With x = data and z = f(x), the density of x under a base density p(z) is (change of variables)

    log p(x) = log p(z) + log|det dz/dx|,        ladj = log|det dz/dx|, one number a sample,

and the ladj of a composition is the sum of its parts'. A context goes along for those that are conditional.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.errors import UserError

Reals = Float[Tensor, "b *shape"]


class Bijection(nn.Module, ABC):
    """An invertible map, in the precision of its input, float32 at least."""

    invertible: bool = True  # whether `inverse` has a formula; where it has none, densities only, no samples

    @abstractmethod
    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        """z = f(x) and ladj = log|det dz/dx| in nats, shape (b,)."""

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        """x = f⁻¹(z), to be defined where `invertible`."""
        raise UserError(f"{type(self).__name__} has no closed inverse; choose bijections that have one, to decode")


class Chain(Bijection):
    """f = f_k ∘ ... ∘ f_1; the identity where there is none."""

    steps: Sequence[Bijection]

    def __init__(self, bijections: Iterable[Bijection]):
        super().__init__()
        self.steps = nn.ModuleList(bijections)  # type: ignore[assignment]

    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        ladj = torch.zeros(len(x), device=x.device)
        for f in self.steps:
            x, step = f(x, context)
            ladj = ladj + step
        return x, ladj

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        for f in reversed(self.steps):
            z = f.inverse(z, context)
        return z


def without_inverse(f: Bijection) -> str | None:
    """The name of the first bijection in `f` that has no closed inverse; None where `f` can be undone."""
    parts = (part for part in f.modules() if isinstance(part, Bijection))
    return next((type(part).__name__ for part in parts if not part.invertible), None)
