"""Ancestral sampling of DDPM (Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239, algorithm 2).

The paper's step goes from x_t to x_{t-1}. Here x is x_t/sqrt(alpha_bar_t) = x_0 + sigma noise, so one step is
from sigma down to s, with sigma² = (1 - alpha_bar_t)/alpha_bar_t and s² the same of t-1; nothing else changes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from genmodels.capabilities import Denoiser, Sampler
from genmodels.samplers.steps import descend, fresh_noise
from genmodels.seeds import GLOBAL, Random

Variance = Literal["small", "large"]


@dataclass(frozen=True, kw_only=True)
class Ancestral(Sampler):
    """x_s ~ p(x_s|x) = N(x_0 + s²/sigma² (x - x_0), v) with x_0 = D(x, sigma), and x_0 itself at the end."""

    steps: int | None
    variance: Variance

    def __call__(self, denoiser: Denoiser, noise: Tensor, sigmas: Tensor, rng: Random = GLOBAL) -> Iterator[Tensor]:
        x = noise
        for sigma, s in descend(sigmas, self.steps):
            x0 = denoiser(x, sigma)
            yield x0
            v = reverse_variance(sigma, s, self.variance)
            x = x0 + (s / sigma) ** 2 * (x - x0) + fresh_noise(x, v, rng)


def reverse_variance(sigma: Tensor, s: Tensor, variance: Variance) -> Tensor:
    """Variance v of p(x_s|x), any shape.

    "small": of q(x_s|x, x_0), right for data that is one point: the paper's tilde-beta_t. "large": the paper's
    beta_t, right for data that is N(0, I). Both divided by alpha_bar_{t-1}, for the scale of x.
    """
    if variance == "small":
        return s**2 * (sigma**2 - s**2) / sigma**2
    return (1 + s**2) * (sigma**2 - s**2) / (1 + sigma**2)
