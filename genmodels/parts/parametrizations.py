"""What a diffusion network's output F means: D(x_t) = c_skip x_t + c_out F(c_in x_t, c_noise) estimates x_0.

This is the form of Karras et al. (2022, https://arxiv.org/abs/2206.00364, equation 7), here as a function of alpha and
sigma in x_t = alpha x_0 + sigma eps, so that it holds for every process. F is trained towards
F* = (x_0 - c_skip x_t)/c_out, which each class below computes from x_0 and eps without a division by 0.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float, Shaped
from torch import Tensor

from genmodels.capabilities import Level
from genmodels.ranges import PositiveFloat

PerLevel = Float[Tensor, "*b"]


class Coefficients(NamedTuple):
    """The coefficients of each level, in the shape of the level."""

    skip: PerLevel | float
    out: PerLevel | float
    into: PerLevel | float  # c_in


class Parametrization(ABC):
    """c_skip, c_out, c_in and c_noise as functions of level and time, and the target of F."""

    needs_signal = False  # whether it cannot estimate x_0 at alpha = 0

    @abstractmethod
    def coefficients(self, level: Level) -> Coefficients:
        """c_skip, c_out and c_in."""

    @abstractmethod
    def c_noise(self, level: Level, t: Shaped[Tensor, "*b"]) -> Shaped[Tensor, "*b"]:
        """The network's input about the level."""

    @abstractmethod
    def target(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        """F*; the shapes of `level` broadcast with x_0."""


@dataclass(frozen=True, kw_only=True)
class TellsTime(Parametrization):
    """c_noise is time_scale t, in units that the network's time embedding can distinguish."""

    time_scale: PositiveFloat  # c_noise per unit of t

    def c_noise(self, level: Level, t: Shaped[Tensor, "*b"]) -> Shaped[Tensor, "*b"]:
        return t * self.time_scale


class Noise(TellsTime):
    """F is eps (DDPM: Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239): D = (x_t - sigma F)/alpha."""

    needs_signal = True

    def coefficients(self, level: Level) -> Coefficients:
        return Coefficients(1 / level.alpha, -level.sigma / level.alpha, 1.0)

    def target(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        return eps


class Data(TellsTime):
    """F is x_0, and so is D."""

    def coefficients(self, level: Level) -> Coefficients:
        return Coefficients(0.0, 1.0, 1.0)

    def target(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        return x0


class Velocity(TellsTime):
    """F is v = alpha eps - sigma x_0 (Salimans & Ho 2022, https://arxiv.org/abs/2202.00512, appendix D):
    D = (alpha x_t - sigma F)/(alpha² + sigma²), where alpha² + sigma² = 1 for variance-preserving processes."""

    def coefficients(self, level: Level) -> Coefficients:
        total = level.alpha**2 + level.sigma**2
        return Coefficients(level.alpha / total, -level.sigma / total, 1.0)

    def target(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        return level.alpha * eps - level.sigma * x0


class FlowVelocity(TellsTime):
    """F is eps - x_0, which is dx_t/dt on straight lines (flow matching: Lipman et al. 2023,
    https://arxiv.org/abs/2210.02747): D = (x_t - sigma F)/(alpha + sigma), on straight lines x_t - t F."""

    def coefficients(self, level: Level) -> Coefficients:
        total = level.alpha + level.sigma
        return Coefficients(1 / total, -level.sigma / total, 1.0)

    def target(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        return eps - x0


@dataclass(frozen=True, kw_only=True)
class EDM(TellsTime):
    """F has inputs and targets of variance 1, and its errors are amplified least (Karras et al. 2022, appendix B.6).

    With s = sigma_data and q² = alpha² s² + sigma²: c_skip = alpha s²/q², c_out = sigma s/q, c_in = 1/q,
    c_noise = time_scale log(sigma/alpha)/4; with alpha = 1 and time_scale = 1 these are the paper's (table 1). The
    paper's loss lambda(sigma) (D - x_0)² with lambda = 1/c_out² is (F - F*)² with weight 1 (`weighting: simple`).
    """

    sigma_data: PositiveFloat  # standard deviation of the data

    def coefficients(self, level: Level) -> Coefficients:
        s, q2 = self.sigma_data, self.q2(level)
        return Coefficients(level.alpha * s**2 / q2, level.sigma * s / q2.sqrt(), q2.rsqrt())

    def c_noise(self, level: Level, t: Shaped[Tensor, "*b"]) -> Shaped[Tensor, "*b"]:
        quarter = (level.sigma / level.alpha).log().clamp(-20, 20) / 4  # finite without noise and without signal
        return quarter * self.time_scale

    def target(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        s = self.sigma_data
        return (level.sigma / s * x0 - level.alpha * s * eps) * self.q2(level).rsqrt()

    def q2(self, level: Level) -> Tensor:
        return (level.alpha * self.sigma_data) ** 2 + level.sigma**2
