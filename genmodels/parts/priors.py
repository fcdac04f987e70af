"""Priors p(z) of a VAE: the standard normal, and VampPrior, a mixture of posteriors at learned pseudo-inputs (Tomczak &
Welling 2018, https://arxiv.org/abs/1705.07120)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import log, prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import NO_CONDITION, Batch, Condition, Initialises, PerSample
from genmodels.errors import UserError
from genmodels.nn.shapes import Maps, PerDraw
from genmodels.parts.posteriors import LOG_2PI, Draws, Gaussian, LatentVector, Posterior, PosteriorParams
from genmodels.ranges import PositiveInt, TwoOrMore
from genmodels.seeds import Random, seeded
from genmodels.units import to_unit

GaussianAt = Callable[[Maps], tuple[LatentVector, LatentVector]]  # mean and log-std of q(z|x) for images on [-1, 1]

JITTER = 0.05  # spread of the initial pseudo-inputs around data


class Prior(nn.Module, ABC):
    """p(z) over d numbers. `q` computes the model's own posterior for given images, for priors that need it."""

    def check(self, posterior: Posterior) -> None:  # noqa: B027  most have nothing to refuse
        """UserError if this prior does not work with this posterior."""

    @abstractmethod
    def log_prob(self, z: Draws, q: GaussianAt) -> PerDraw:
        """log p(z) in nats, (k, b)."""

    @abstractmethod
    def sample(self, n: int, rng: Random, temperature: float, q: GaussianAt) -> Float[Tensor, "n d"]:
        """`n` draws; `temperature` multiplies the standard deviations."""

    def kl(self, posterior: Posterior, params: PosteriorParams) -> PerSample | None:
        """KL(q(z|x) | p(z)) in nats, (b,); None without a closed form."""
        return None


class StandardNormal(Prior):
    """N(0, I)."""

    origin: Tensor  # its mean, (d,); holds the device

    def __init__(
        self,
        *,
        latent_dim: PositiveInt,  # d
    ):
        super().__init__()
        self.register_buffer("origin", torch.zeros(latent_dim), persistent=False)

    def log_prob(self, z: Draws, q: GaussianAt) -> PerDraw:
        return -(z.square() + LOG_2PI).sum(2) / 2

    def sample(self, n: int, rng: Random, temperature: float, q: GaussianAt) -> Float[Tensor, "n d"]:
        return temperature * rng.normal((n, len(self.origin)), self.origin.device).to(self.origin)

    def kl(self, posterior: Posterior, params: PosteriorParams) -> PerSample | None:
        return posterior.kl_to_standard_normal(params)


class VampPrior(Prior, Initialises):
    """1/K Σ_k q(z|u_k) with K pseudo-inputs u_k, learned images on [-1, 1] (equation 9).

    They start from images of the first batch. In a conditional model, their posteriors have no condition.
    """

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        levels: TwoOrMore,  # of the data
        components: PositiveInt,  # K
    ):
        super().__init__()
        if components < 1:
            raise UserError(f"model.prior.components is {components}, expected at least 1")
        self.levels = levels
        self.inputs = nn.Parameter(JITTER * torch.randn(components, *shape))

    def check(self, posterior: Posterior) -> None:
        if not isinstance(posterior, Gaussian):
            name = type(posterior).__name__
            raise UserError(
                f"model/prior=vampprior is a mixture of q(z|u), which {name} does not have in closed form at every z; "
                "take model/posterior=gaussian"
            )

    @torch.no_grad()
    def initialise(self, x: Batch, condition: Condition = NO_CONDITION) -> None:
        """Sets the pseudo-inputs to the first K samples of the batch (repeated if there are fewer) plus noise."""
        assert isinstance(x, Tensor)
        rows = torch.arange(len(self.inputs), device=x.device) % len(x)
        with seeded(0, prod(self.inputs.shape)):  # the same on every process
            noise = torch.randn(self.inputs.shape).to(self.inputs)
        self.inputs.copy_((to_unit(x[rows], self.levels) + JITTER * noise).clamp(-1, 1))

    def log_prob(self, z: Draws, q: GaussianAt) -> PerDraw:
        """Computed in float64, so that the squares of (z - mean)/std can be expanded into matrix products."""
        mean, log_std = (each.double() for each in q(self.inputs.clamp(-1, 1)))  # (K, d)
        flat, precision = z.flatten(0, 1).double(), torch.exp(-2 * log_std)
        squares = flat.square() @ precision.T - 2 * flat @ (precision * mean).T + (precision * mean.square()).sum(1)
        log_q = -(squares + mean.shape[1] * LOG_2PI) / 2 - log_std.sum(1)  # (k b, K)
        return (log_q.logsumexp(1) - log(len(mean))).float().view(z.shape[:2])

    def sample(self, n: int, rng: Random, temperature: float, q: GaussianAt) -> Float[Tensor, "n d"]:
        mean, log_std = q(self.inputs.clamp(-1, 1))
        chosen = rng.integers(len(mean), n, mean.device)
        noise = rng.normal((n, mean.shape[1]), mean.device)
        return (mean[chosen] + temperature * log_std[chosen].exp() * noise).to(self.inputs)
