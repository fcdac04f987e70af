"""Base densities of flows and priors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import log, pi

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from genmodels.capabilities import PerSample
from genmodels.ranges import PositiveInt
from genmodels.seeds import GLOBAL, Random


class Density(nn.Module, ABC):
    """A density that can be evaluated and sampled."""

    @abstractmethod
    def log_prob(self, z: Float[Tensor, " b *shape"]) -> PerSample:
        """log p(z) in nats, shape (b,), in the precision of z."""

    @abstractmethod
    def sample(self, n: int, rng: Random = GLOBAL, temperature: float = 1.0) -> Float[Tensor, " n *shape"]:
        """`n` draws; `temperature` multiplies the standard deviations."""


class StandardNormal(Density):
    """N(0, I)."""

    mean: Tensor  # zeros; holds the device and precision

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # of one sample
    ):
        super().__init__()
        self.register_buffer("mean", torch.zeros(*shape), persistent=False)

    def log_prob(self, z: Float[Tensor, " b *shape"]) -> PerSample:
        return -0.5 * (z.square() + log(2 * pi)).flatten(1).sum(1)

    def sample(self, n: int, rng: Random = GLOBAL, temperature: float = 1.0) -> Float[Tensor, " n *shape"]:
        return rng.normal((n, *self.mean.shape), self.mean.device).to(self.mean) * temperature


class Logistic(Density):
    """The logistic density e^z/(1 + e^z)² for each entry, as in NICE (Dinh et al. 2015,
    https://arxiv.org/abs/1410.8516, section 3.4)."""

    mean: Tensor  # zeros; holds the device and precision

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # of one sample
    ):
        super().__init__()
        self.register_buffer("mean", torch.zeros(*shape), persistent=False)

    def log_prob(self, z: Float[Tensor, " b *shape"]) -> PerSample:
        return -(softplus(z) + softplus(-z)).flatten(1).sum(1)

    def sample(self, n: int, rng: Random = GLOBAL, temperature: float = 1.0) -> Float[Tensor, " n *shape"]:
        u = rng.uniform((n, *self.mean.shape), self.mean.device)  # multiples of 2^-24 in [0, 1)
        return u.logit(eps=2**-24).to(self.mean) * temperature
