"""DDIM (Song, Meng & Ermon 2021, https://arxiv.org/abs/2010.02502, eq. 12 and 16)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from genmodels.capabilities import Denoiser, Level
from genmodels.errors import UserError
from genmodels.ranges import Probability
from genmodels.samplers.ancestral import reverse_variance
from genmodels.samplers.base import DenoisingSampler
from genmodels.samplers.steps import fresh_noise, noise_in, steps
from genmodels.seeds import GLOBAL, Random


@dataclass(frozen=True, kw_only=True)
class DDIM(DenoisingSampler):
    """x_s = alpha_s x_0 + sqrt(sigma_s² - v) eps + sqrt(v) z: eps is the noise that D estimates in x, z fresh noise.

    v is eta² times the "small" variance of ancestral sampling. eta = 0 is deterministic, an Euler step of the
    probability flow; eta = 1 is ancestral sampling.
    """

    eta: Probability  # in [0, 1]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise UserError(f"got sampler.eta={self.eta}, expected a number in [0, 1]; change sampler.eta")

    def __call__(
        self, denoiser: Denoiser, noise: Tensor, levels: Sequence[Level], rng: Random = GLOBAL
    ) -> Iterator[Tensor]:
        x = noise
        for level, lower in steps(levels):
            x0 = denoiser(x, level)
            yield x0
            if lower.sigma > 0:
                v = self.eta**2 * reverse_variance(level, lower, "small")
                kept = (lower.sigma**2 - v).sqrt() * noise_in(x, x0, level)
                x = lower.alpha * x0 + kept + fresh_noise(x, v, rng)
