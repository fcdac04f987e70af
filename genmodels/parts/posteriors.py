"""Approximate posteriors q(z|x) of a VAE; their parameters are the numbers that the encoder outputs.

Normal (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114), and a normal transformed by planar flows (Rezende &
Mohamed 2015, https://arxiv.org/abs/1505.05770).
"""

from abc import ABC, abstractmethod
from math import log, pi

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import PerSample
from genmodels.errors import UserError
from genmodels.nn.flows.planar import planar
from genmodels.nn.shapes import PerDraw
from genmodels.ranges import PositiveInt
from genmodels.seeds import GLOBAL, Random

PosteriorParams = Float[Tensor, "b n"]  # the encoder's outputs, float32
LatentVector = Float[Tensor, "b d"]
Draws = Float[Tensor, "k b d"]

LOG_STD = (-7.0, 7.0)  # log-stds are clamped to this
LOG_2PI = log(2 * pi)


class Posterior(nn.Module, ABC):
    """q(z|x) over d numbers; it has no weights, since the encoder outputs all parameters."""

    @abstractmethod
    def numbers(self, latent_dim: int) -> int:
        """How many numbers the encoder has to output for a code of d = `latent_dim`."""

    @abstractmethod
    def draw(self, params: PosteriorParams, k: int, rng: Random = GLOBAL) -> tuple[Draws, PerDraw]:
        """`k` draws z from q(z|x) for each sample, and log q(z|x) in nats, (k, b)."""

    @abstractmethod
    def center(self, params: PosteriorParams) -> LatentVector:
        """The mean, or the draw without noise if the mean has no closed form."""

    def kl_to_standard_normal(self, params: PosteriorParams) -> PerSample | None:
        """KL(q(z|x) | N(0, I)) in nats, (b,); None without a closed form."""
        return None


class Gaussian(Posterior):
    """N(mean, diag(std²)); the encoder outputs the means, then the log-stds."""

    def __init__(self) -> None:
        super().__init__()

    def numbers(self, latent_dim: int) -> int:
        return 2 * latent_dim

    def draw(self, params: PosteriorParams, k: int, rng: Random = GLOBAL) -> tuple[Draws, PerDraw]:
        mean, log_std = mean_and_log_std(params)
        noise = rng.normal((len(mean), k, mean.shape[1]), mean.device).transpose(0, 1)
        z = mean + log_std.exp() * noise
        return z, -(noise.square() + LOG_2PI).sum(2) / 2 - log_std.sum(1)

    def center(self, params: PosteriorParams) -> LatentVector:
        return mean_and_log_std(params)[0]

    def kl_to_standard_normal(self, params: PosteriorParams) -> PerSample:
        """Kingma & Welling 2014, appendix B."""
        mean, log_std = mean_and_log_std(params)
        return (mean.square() + torch.exp(2 * log_std) - 1 - 2 * log_std).sum(1) / 2


class Planar(Posterior):
    """z_K = f_K(... f_1(z_0)) with z_0 from a Gaussian and f(z) = z + û tanh(wᵀz + b); u, w and b of each map come
    from the encoder; log q(z_K|x) = log q(z_0|x) - Σ log(1 + (1 - tanh²) wᵀû) (equations 10 to 13).

    û is u moved along w so that wᵀû > -1, which makes f invertible (appendix A.1).
    """

    def __init__(
        self,
        *,
        layers: PositiveInt,  # K planar maps
    ):
        super().__init__()
        if layers < 1:
            raise UserError(
                f"model.posterior.layers is {layers}, expected at least 1; without them: model/posterior=gaussian"
            )
        self.layers = layers
        self.base = Gaussian()

    def numbers(self, latent_dim: int) -> int:
        return self.base.numbers(latent_dim) + self.layers * (2 * latent_dim + 1)

    def draw(self, params: PosteriorParams, k: int, rng: Random = GLOBAL) -> tuple[Draws, PerDraw]:
        base, maps = self.split(params)
        z, log_q = self.base.draw(base, k, rng)
        z, ladj = bent(z, maps)
        return z, log_q - ladj

    def center(self, params: PosteriorParams) -> LatentVector:
        base, maps = self.split(params)
        return bent(self.base.center(base)[None], maps)[0][0]

    def split(self, params: PosteriorParams) -> tuple[Float[Tensor, "b two_d"], Float[Tensor, "b maps m"]]:
        """The parameters of the base, and u, w and b of each map."""
        d = (params.shape[1] - self.layers) // (2 * self.layers + 2)
        base, maps = params[:, : 2 * d], params[:, 2 * d :]
        return base, maps.unflatten(1, (self.layers, 2 * d + 1))


def mean_and_log_std(params: PosteriorParams) -> tuple[LatentVector, LatentVector]:
    """Mean and clamped log-std of a Gaussian, each (b, d)."""
    mean, log_std = params.chunk(2, dim=1)
    return mean, log_std.clamp(*LOG_STD)


def bent(z: Draws, maps: Float[Tensor, "b maps m"]) -> tuple[Draws, PerDraw]:
    """Each sample's draws after its planar maps, and the ladj of all maps together."""
    ladj = z.new_zeros(z.shape[:2])
    for u, w, bias in ((each[:, : z.shape[2]], each[:, z.shape[2] : -1], each[:, -1]) for each in maps.unbind(1)):
        z, step = planar(z, u, w, bias)
        ladj = ladj + step
    return z, ladj
