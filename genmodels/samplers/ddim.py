"""DDIM (Song, Meng & Ermon 2021, https://arxiv.org/abs/2010.02502, eq. 12 and 16).

On the scale x = x_t/sqrt(alpha_bar_t) = x_0 + sigma noise, one step goes from sigma down to s.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from genmodels.capabilities import Denoiser, Sampler
from genmodels.errors import UserError
from genmodels.samplers.ancestral import reverse_variance
from genmodels.samplers.steps import descend, fresh_noise
from genmodels.seeds import GLOBAL, Random


@dataclass(frozen=True, kw_only=True)
class DDIM(Sampler):
    """x_s = x_0 + sqrt(s² - v) noise' + sqrt(v) z: `noise'` is the noise that D sees in x, z fresh noise.

    v is eta² times the "small" variance of ancestral sampling. eta = 0 is deterministic, an Euler step of the
    probability flow; eta = 1 is ancestral sampling. Noise levels are evenly spaced in t, as for every sampler here.
    """

    steps: int
    eta: float  # in [0, 1]

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise UserError(f"got sampler.eta={self.eta}, expected a number in [0, 1]; change sampler.eta")

    def __call__(self, denoiser: Denoiser, noise: Tensor, sigmas: Tensor, rng: Random = GLOBAL) -> Iterator[Tensor]:
        x = noise
        for sigma, s in descend(sigmas, self.steps):
            x0 = denoiser(x, sigma)
            yield x0
            v = self.eta**2 * reverse_variance(sigma, s, "small")
            x = x0 + (s**2 - v).sqrt() * (x - x0) / sigma + fresh_noise(x, v, rng)
