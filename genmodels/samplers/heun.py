"""Heun's second-order sampler with churn (EDM: Karras et al. 2022, https://arxiv.org/abs/2206.00364, algorithm 2).

The paper has alpha = 1. Here the trapezoidal rule covers both numbers of a level: the same for alpha = 1, and of
second order for every process.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

from torch import Tensor

from genmodels.capabilities import Denoiser, Level
from genmodels.errors import UserError
from genmodels.ranges import NonNegativeFloat, NonNegativeOrInfinite, PositiveFloat
from genmodels.samplers.base import DenoisingSampler
from genmodels.samplers.steps import fresh_noise, noise_in, steps
from genmodels.seeds import GLOBAL, Random


@dataclass(frozen=True, kw_only=True)
class Heun(DenoisingSampler):
    """x_s = x + (alpha_s - alpha)(D + D')/2 + (sigma_s - sigma)(eps + eps')/2, D' and eps' at an Euler step's end.

    Before each step where churn_min <= sigma/alpha <= churn_max, sigma grows by the factor
    1 + min(churn/N, sqrt(2) - 1) through fresh noise. The last step is Euler's. 2 N - 1 calls of the denoiser.
    """

    churn: NonNegativeFloat  # S_churn; 0: deterministic
    churn_min: NonNegativeFloat  # S_min
    churn_max: NonNegativeOrInfinite  # S_max
    churn_noise: PositiveFloat  # S_noise, standard deviation of the fresh noise

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.churn < 0 or self.churn_noise <= 0 or not 0 <= self.churn_min <= self.churn_max:
            raise UserError(
                f"got sampler.churn={self.churn}, churn_min={self.churn_min}, churn_max={self.churn_max} and "
                f"churn_noise={self.churn_noise}, expected churn >= 0, 0 <= churn_min <= churn_max, churn_noise > 0; "
                "correct these settings"
            )

    def __call__(
        self, denoiser: Denoiser, noise: Tensor, levels: Sequence[Level], rng: Random = GLOBAL
    ) -> Iterator[Tensor]:
        x = noise
        for level, lower in steps(levels):
            x, level = self.churned(x, level, len(levels) - 1, rng)
            x0 = denoiser(x, level)
            yield x0
            if lower.sigma > 0:
                d_alpha, d_sigma = lower.alpha - level.alpha, lower.sigma - level.sigma
                eps = noise_in(x, x0, level)
                end = x + d_alpha * x0 + d_sigma * eps
                x0_end = denoiser(end, lower)
                x = x + d_alpha * (x0 + x0_end) / 2 + d_sigma * (eps + noise_in(end, x0_end, lower)) / 2

    def churned(self, x: Tensor, level: Level, n: int, rng: Random) -> tuple[Tensor, Level]:
        """`x` with fresh noise, at a higher sigma and the same alpha."""
        gamma = min(self.churn / n, sqrt(2) - 1)
        if gamma == 0 or not self.churn_min <= level.sigma / level.alpha <= self.churn_max:
            return x, level
        higher = level.sigma * (1 + gamma)
        variance = (higher**2 - level.sigma**2) * self.churn_noise**2
        return x + fresh_noise(x, variance, rng), Level(level.alpha, higher)
