"""Bijections: maps that are undone exactly and that say by how much they change volume.

With x = data and z = f(x), the density of x under a base density p(z) is (change of variables)

    log p(x) = log p(z) + log|det dz/dx|,        ladj = log|det dz/dx|, one number a sample,

and the ladj of a composition is the sum of its parts'. Labels y go along for those that are conditional.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from genmodels.capabilities import Batch, Labels, PerSample

Latent = Float[Tensor, "b *latent"]


class Bijection(nn.Module, ABC):
    """An invertible map, in the precision of its input, float32 at least.

    Dequantization counts as one: it draws v from q(v|x), undoes that by rounding, and has -log q(v|x) for
    its ladj; the sum above is then one draw of the log importance weight log p(v)/q(v|x).
    """

    stochastic: bool = False  # whether forward draws random numbers, which makes log p(x) a lower bound
    dequantization: str | None = None  # what it draws to make integers continuous, if it does: "uniform"

    @abstractmethod
    def forward(self, x: Batch, y: Labels | None = None) -> tuple[Latent, PerSample]:
        """z = f(x) and ladj = log|det dz/dx| in nats, shape (b,)."""

    @abstractmethod
    def inverse(self, z: Latent, y: Labels | None = None) -> Shaped[Tensor, "b *shape"]:
        """x = f⁻¹(z)."""

    def encode(self, x: Batch, y: Labels | None = None) -> Latent:
        """z = f(x) without randomness; what draws random numbers overrides it by its typical draw."""
        return self(x, y)[0]


class Chain(Bijection):
    """f = f_k ∘ ... ∘ f_1; the identity where there is none."""

    steps: Sequence[Bijection]

    def __init__(self, bijections: Iterable[Bijection]):
        super().__init__()
        self.steps = nn.ModuleList(bijections)  # type: ignore[assignment]
        self.stochastic = any(f.stochastic for f in self.steps)
        self.dequantization = next((f.dequantization for f in self.steps if f.dequantization), None)

    def forward(self, x: Batch, y: Labels | None = None) -> tuple[Latent, PerSample]:
        ladj = torch.zeros(len(x), device=x.device)
        for f in self.steps:
            x, step = f(x, y)
            ladj = ladj + step
        return x, ladj

    def inverse(self, z: Latent, y: Labels | None = None) -> Shaped[Tensor, "b *shape"]:
        for f in reversed(self.steps):
            z = f.inverse(z, y)
        return z

    def encode(self, x: Batch, y: Labels | None = None) -> Latent:
        for f in self.steps:
            x = f.encode(x, y)
        return x
