"""What a diffusion network's output F means: D(x_t) = c_skip x_t + c_out F(c_in x_t, c_noise) estimates x_0.

So Karras et al. (2022, https://arxiv.org/abs/2206.00364, equation 7) write every denoiser; here with both numbers of a
level, x_t = alpha x_0 + sigma eps, so that one rule holds on every process. F is trained towards
F* = (x_0 - c_skip x_t)/c_out, which each rule below gives in terms of x_0 and eps, where nothing is divided by 0.
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
    """Of each level, shaped as it."""

    skip: PerLevel | float
    out: PerLevel | float
    into: PerLevel | float  # c_in


class Parametrization(ABC):
    """c_skip, c_out, c_in and c_noise as functions of level and time, and the target of F."""

    needs_signal = False  # whether it cannot estimate x_0 where alpha is 0

    @abstractmethod
    def coefficients(self, level: Level) -> Coefficients:
        """c_skip, c_out and c_in."""

    @abstractmethod
    def told(self, level: Level, t: Shaped[Tensor, "*b"]) -> Shaped[Tensor, "*b"]:
        """c_noise: which number tells the network the level."""

    @abstractmethod
    def target(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        """F*; `level` has shapes that go with x_0."""


@dataclass(frozen=True, kw_only=True)
class TellsTime(Parametrization):
    """The network is told t, in units that its embedding of time can tell apart."""

    time_scale: PositiveFloat  # it is told time_scale t

    def told(self, level: Level, t: Shaped[Tensor, "*b"]) -> Shaped[Tensor, "*b"]:
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
    D = alpha x_t - sigma F on variance-preserving processes, elsewhere that over alpha² + sigma²."""

    def coefficients(self, level: Level) -> Coefficients:
        total = level.alpha**2 + level.sigma**2
        return Coefficients(level.alpha / total, -level.sigma / total, 1.0)

    def target(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        return level.alpha * eps - level.sigma * x0


class FlowVelocity(TellsTime):
    """F is eps - x_0, which is dx_t/dt on straight lines (flow matching: Lipman et al. 2023,
    https://arxiv.org/abs/2210.02747): D = x_t - t F there, elsewhere (x_t - sigma F)/(alpha + sigma)."""

    def coefficients(self, level: Level) -> Coefficients:
        total = level.alpha + level.sigma
        return Coefficients(1 / total, -level.sigma / total, 1.0)

    def target(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        return eps - x0


@dataclass(frozen=True, kw_only=True)
class EDM(TellsTime):
    """F sees and gives numbers of variance 1 and its errors count least (Karras et al. 2022, table 1 and appendix B.6).

    With s = sigma_data and q² = alpha² s² + sigma²: c_skip = alpha s²/q², c_out = sigma s/q, c_in = 1/q,
    c_noise = time_scale log(sigma/alpha)/4, at alpha = 1 and time_scale = 1 the paper's. Its loss lambda(sigma)
    (D - x_0)² with lambda = 1/c_out² is (F - F*)² with weight 1 (`weighting: simple`).
    """

    sigma_data: PositiveFloat  # standard deviation of the data

    def coefficients(self, level: Level) -> Coefficients:
        s, q2 = self.sigma_data, self.q2(level)
        return Coefficients(level.alpha * s**2 / q2, level.sigma * s / q2.sqrt(), q2.rsqrt())

    def told(self, level: Level, t: Shaped[Tensor, "*b"]) -> Shaped[Tensor, "*b"]:
        c_noise = (level.sigma / level.alpha).log().clamp(-20, 20) / 4  # finite where there is no noise or no signal
        return c_noise * self.time_scale

    def target(self, x0: Tensor, eps: Tensor, level: Level) -> Tensor:
        s = self.sigma_data
        return (level.sigma / s * x0 - level.alpha * s * eps) * self.q2(level).rsqrt()

    def q2(self, level: Level) -> Tensor:
        return (level.alpha * self.sigma_data) ** 2 + level.sigma**2
