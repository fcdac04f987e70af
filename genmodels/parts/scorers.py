"""How a diffusion model computes likelihoods of data from its denoiser."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import Bound, Denoiser, PerSample, Protocol
from genmodels.parts.bounds import VariationalBound
from genmodels.parts.guidance import clipped
from genmodels.parts.processes import Process
from genmodels.parts.spaces import Space
from genmodels.samplers.ancestral import Variance


class Scorer(nn.Module, ABC):
    """The likelihood, or a lower bound of it, of codes in a model's space."""

    bound: Bound

    @abstractmethod
    def log_prob(self, x0: Float[Tensor, " b *code"], denoiser: Denoiser, space: Space) -> PerSample:
        """log p(x_0) in nats, or a random lower bound of it by torch's global generator; `denoiser` is not clipped."""

    def check(self, space: Space) -> None:  # noqa: B027  most go with every space
        """UserError if it cannot score codes of this space."""

    @abstractmethod
    def protocol(self) -> Protocol:
        """Its settings, for the protocol of a result."""


class Variational(Scorer):
    """An estimate of the variational bound with all T terms: one draw of noise per term, from t = T-1 to 0.

    Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239, equation 5.
    """

    bound: Bound = "vlb"

    def __init__(
        self,
        *,
        process: Process,
        variance: Variance,  # of the reverse process in the bound: small, large
        clip: bool,  # clips estimates of x_0 to the range of clean data, if there is one
    ):
        super().__init__()
        self.terms = VariationalBound(process, variance)
        self.levels = process.grid(None)[:-1]
        self.variance, self.clip = variance, clip

    def log_prob(self, x0: Float[Tensor, " b *code"], denoiser: Denoiser, space: Space) -> PerSample:
        estimate = clipped(denoiser, space.range if self.clip else None)
        nats = [self.terms.prior(x0)]
        for t, level in zip(reversed(range(self.terms.steps)), self.levels, strict=True):
            x0_hat = estimate(level.alpha * x0 + level.sigma * torch.randn_like(x0), level)
            nats.append(self.terms.kl(x0, x0_hat, t) if t > 0 else self.terms.decoder(x0, x0_hat, space))
        return -torch.stack(nats).sum(0)

    def protocol(self) -> Protocol:
        return {"bound_variance": self.variance, "bound_clip": self.clip}
