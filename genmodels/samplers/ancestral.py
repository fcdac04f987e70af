"""Ancestral sampling of DDPM (Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239, algorithm 2).

It steps from x_t = alpha x_0 + sigma eps to a lower level s of any process, not only a variance-preserving one as in
the paper.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from genmodels.capabilities import Denoiser, Level
from genmodels.samplers.base import DenoisingSampler
from genmodels.samplers.steps import fresh_noise, noise_in, steps
from genmodels.seeds import GLOBAL, Random

Variance = Literal["small", "large"]


@dataclass(frozen=True, kw_only=True)
class Ancestral(DenoisingSampler):
    """x_s ~ p(x_s|x) = N(alpha_s x_0 + sigma_s rho eps, v) with x_0 = D(x), rho = (sigma_s/alpha_s)/(sigma/alpha).

    That is the mean of q(x_s|x, x_0). The sample is the last x_0 itself.
    """

    variance: Variance  # of a step: small or large

    def __call__(
        self, denoiser: Denoiser, noise: Tensor, levels: Sequence[Level], rng: Random = GLOBAL
    ) -> Iterator[Tensor]:
        x = noise
        for level, lower in steps(levels):
            x0 = denoiser(x, level)
            yield x0
            if lower.sigma > 0:
                rho = lower.sigma * level.alpha / (lower.alpha * level.sigma)
                mean = lower.alpha * x0 + lower.sigma * rho * noise_in(x, x0, level)
                x = mean + fresh_noise(x, reverse_variance(level, lower, self.variance), rng)


def reverse_variance(level: Level, lower: Level, variance: Variance) -> Tensor:
    """Variance v of p(x_s|x_t), any shape, where `lower` has signal.

    "small": the variance of q(x_s|x_t, x_0), optimal for data of a single point (tilde-beta_t in the paper). "large":
    optimal for N(0, I) data (beta_t in the paper).
    """
    squared = (level.alpha / lower.alpha) ** 2
    if variance == "small":
        return lower.sigma**2 * (1 - squared * lower.sigma**2 / level.sigma**2)
    total, lower_total = (each.alpha**2 + each.sigma**2 for each in (level, lower))
    return lower_total * (1 - squared * lower_total / total)
