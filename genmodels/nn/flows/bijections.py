"""Bijections: maps with an exact inverse that also compute by how much they change volume.

With x = data and z = f(x), the density of x under a base density p(z) is (change of variables)

    log p(x) = log p(z) + log|det dz/dx|,        ladj = log|det dz/dx|, one number per sample,

and the ladj of a composition is the sum over its parts. Conditional bijections also use a context.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.errors import UserError

Reals = Float[Tensor, "b *shape"]


class Bijection(nn.Module, ABC):
    """An invertible map, computed in the precision of its input, at least float32."""

    invertible: bool = True  # whether `inverse` is implemented; without it there are densities but no samples

    @abstractmethod
    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        """z = f(x) and ladj = log|det dz/dx| in nats, shape (b,)."""

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        """x = f⁻¹(z); must be defined if `invertible`."""
        raise UserError(f"{type(self).__name__} has no closed inverse; choose bijections that have one, to decode")


class Chain(Bijection):
    """f = f_k ∘ ... ∘ f_1; the identity if there are none."""

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
    """The name of the first bijection in `f` that has no closed inverse; None if all have one."""
    parts = (part for part in f.modules() if isinstance(part, Bijection))
    return next((type(part).__name__ for part in parts if not part.invertible), None)


@contextmanager
def flagged(model: nn.Module, kind: type[nn.Module], flag: str) -> Iterator[None]:
    """Within the block the attribute `flag` of every part of this kind is True; then it is False again."""
    parts = [part for part in model.modules() if isinstance(part, kind)]
    try:
        for part in parts:
            setattr(part, flag, True)
        yield
    finally:
        for part in parts:
            setattr(part, flag, False)
