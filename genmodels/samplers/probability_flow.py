"""The probability flow on straight lines, in which every Gaussian process has the same ODE.

With y = x_t/(alpha + sigma) and t = sigma/(alpha + sigma) every process is that of flow matching,
y = (1 - t) x_0 + t eps, and the flow dx = D dalpha + e dsigma with the noise e = (x - alpha D)/sigma (Song et al. 2021,
https://arxiv.org/abs/2011.13456, equation 13; Karras et al. 2022, https://arxiv.org/abs/2206.00364, equation 4) is

    dy/dt = e - D = (y - D)/t.

Where D = y - t F, with a network's F, rounding is amplified by 1/t; hence y and t are float64.
"""

from jaxtyping import Float
from torch import Tensor

from genmodels.capabilities import Denoiser, Level

Codes = Float[Tensor, "b *code"]

LEAST = 1e-5  # t at which the flow ends: (y - D)/t has no value at 0


def time(level: Level) -> float:
    """t of a level of shape ()."""
    return (level.sigma / (level.alpha + level.sigma)).item()


def straight(t: Float[Tensor, "*b"]) -> Level:
    """The level of t on straight lines."""
    return Level(1 - t, t)


def velocity(denoiser: Denoiser, t: Float[Tensor, " b"], y: Codes) -> Codes:
    """dy/dt of each sample at its own time."""
    return (y - denoiser(y, straight(t))) / t.view(-1, *[1] * (y.ndim - 1))
