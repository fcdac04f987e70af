"""Noise schedules of discrete-time diffusion: how much of the data is left after t of T steps.

With variance-preserving steps q(x_t|x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I) (Ho, Jain & Abbeel 2020,
https://arxiv.org/abs/2006.11239, eq. 2), q(x_t|x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I).
Index i of a table is the paper's t = i + 1. All in float64 on the CPU.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import pi
from typing import Annotated

import torch
from annotated_types import Gt, Le, Lt
from jaxtyping import Float64
from torch import Tensor

from genmodels.errors import UserError
from genmodels.ranges import NonNegativeFloat, TwoOrMore

Table = Float64[Tensor, "t"]


class Schedule(ABC):
    """T = `steps` variances beta_t, and the alpha_bar_t computed from them."""

    steps: int

    def __post_init__(self) -> None:
        betas = self.betas() if self.steps >= 2 else torch.zeros(0)
        if not (len(betas) and betas.min() > 0 and betas[:-1].max() < 1 and betas[-1] <= 1):
            raise UserError(
                f"got the noise schedule {self}, expected steps >= 2 and 0 < beta < 1 (the last may be 1); "
                "change its numbers"
            )

    @abstractmethod
    def betas(self) -> Table:
        """beta_t, the variance of the noise that step t adds, (T,), each in (0, 1); the last may be 1."""

    def alpha_bar(self) -> Table:
        """Product of 1 - beta_s over s <= t, (T,), decreasing in (0, 1); the last is 0 if its beta is 1."""
        return (1 - self.betas()).cumprod(0)


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """beta_t grows in equal steps (Ho, Jain & Abbeel 2020, section 4)."""

    steps: TwoOrMore  # noise levels
    beta_first: Annotated[float, Gt(0), Lt(1)]  # noise of the first step
    beta_last: Annotated[float, Gt(0), Le(1)]  # noise of the last step

    def betas(self) -> Table:
        return torch.linspace(self.beta_first, self.beta_last, self.steps, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """alpha_bar_t = f(t)/f(0), f(t) = cos²((t/T + s)/(1 + s) pi/2) (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17).

    No beta exceeds `beta_max`; 1 leaves no signal in the last step (zero terminal SNR: Lin et al. 2024,
    https://arxiv.org/abs/2305.08891), which does not work with the noise parametrization.
    """

    steps: TwoOrMore
    offset: NonNegativeFloat  # s
    beta_max: Annotated[float, Gt(0), Le(1)]

    def betas(self) -> Table:
        t = torch.arange(self.steps + 1, dtype=torch.float64)
        f = ((t / self.steps + self.offset) / (1 + self.offset) * pi / 2).cos().square()
        return (1 - f[1:] / f[:-1]).clamp(max=self.beta_max)
