"""Euler's method for the probability flow, as flow matching samples (Lipman et al. 2023, arXiv:2210.02747).

Where x_t = alpha x_0 + sigma eps, the flow is dx = D dalpha + eps_hat dsigma with eps_hat = (x - alpha D)/sigma (Song
et al. 2021, https://arxiv.org/abs/2011.13456; Karras et al. 2022, https://arxiv.org/abs/2206.00364, equation 4).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from genmodels.capabilities import Denoiser, Level
from genmodels.samplers.base import DenoisingSampler
from genmodels.samplers.steps import noise_in, steps
from genmodels.seeds import GLOBAL, Random


@dataclass(frozen=True, kw_only=True)
class Euler(DenoisingSampler):
    """x_s = x + (alpha_s - alpha) D + (sigma_s - sigma) eps_hat, first order in the size of the steps.

    For straight paths this is x + (t_s - t) velocity; for every process it equals the deterministic step of DDIM.
    """

    def __call__(
        self, denoiser: Denoiser, noise: Tensor, levels: Sequence[Level], rng: Random = GLOBAL
    ) -> Iterator[Tensor]:
        x = noise
        for level, lower in steps(levels):
            x0 = denoiser(x, level)
            yield x0
            if lower.sigma > 0:
                eps = noise_in(x, x0, level)
                x = x + (lower.alpha - level.alpha) * x0 + (lower.sigma - level.sigma) * eps
