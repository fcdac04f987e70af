"""How data turn into noise: processes x_t = alpha x_0 + sigma eps with eps ~ N(0, I), and their time t.

All Gaussian processes are the same up to the scale of x, since sigma/alpha alone says how much of x_0 is left (Karras
et al. 2022, https://arxiv.org/abs/2206.00364, appendix B; Kingma et al. 2021, https://arxiv.org/abs/2107.00630). A
process defines the scale of x, the meaning of t, and the levels that a sampler visits.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from genmodels.capabilities import Level
from genmodels.errors import UserError
from genmodels.parts.schedules import Schedule
from genmodels.ranges import PositiveFloat

Time = Shaped[Tensor, "*b"]


class Process(nn.Module, ABC):
    """A path of noise levels from data, (1, 0), to noise."""

    start: float  # standard deviation of x_t at the noisiest level, where a sampler starts
    span: tuple[float, float]  # t at the least and at the most noise

    @abstractmethod
    def level(self, t: Time) -> Level:
        """(alpha, sigma) at time t, in the shape of t."""

    @abstractmethod
    def time(self, level: Level) -> Float[Tensor, "*b"]:
        """The t with the sigma/alpha of a level of any scale; clamped to the span."""

    @abstractmethod
    def scale(self, level: Level) -> Float[Tensor, "*b"]:
        """The factor c for which (c alpha, c sigma) is a level of this process, so that c x_t belongs to it."""

    @abstractmethod
    def grid(self, steps: int | None) -> list[Level]:
        """`steps` levels that a sampler visits, from the noisiest, then (1, 0); of shape (), float64, on the CPU.

        None: all levels, if there are finitely many.
        """


class Discrete(Process):
    """DDPM's T variance-preserving levels (Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239).

    alpha² = alpha_bar, sigma² = 1 - alpha_bar; t is an index from 0 (in the paper from 1);
    between two indices log sigma/alpha is linear in t.
    """

    start = 1.0
    alpha: Tensor  # (T,), decreasing
    sigma: Tensor
    ratio: Tensor  # sigma/alpha, (T,), increasing; the last may be infinite

    def __init__(
        self,
        *,
        schedule: Schedule,
    ):
        super().__init__()
        self.schedule, self.steps = schedule, schedule.steps
        self.span = (0.0, schedule.steps - 1.0)
        alpha_bar = schedule.alpha_bar()
        self.table = Level(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())  # (T,) float64 on the CPU
        alpha, sigma = self.table
        for name, values in (("alpha", alpha), ("sigma", sigma), ("ratio", sigma / alpha)):
            self.register_buffer(name, values.float(), persistent=False)

    def level(self, t: Time) -> Level:
        if not t.is_floating_point():
            return Level(self.alpha[t], self.sigma[t])
        i = t.long().clamp(0, self.steps - 1)
        low, high = self.ratio[i].log(), self.ratio[(i + 1).clamp(max=self.steps - 1)].log()
        between = torch.where(t > i, low + (t - i) * (high - low), low).exp()
        return Level((1 + between**2).rsqrt(), (1 + between**-2).rsqrt())

    def time(self, level: Level) -> Float[Tensor, "*b"]:
        ratio = (level.sigma / level.alpha).to(self.ratio)
        i = torch.searchsorted(self.ratio, ratio).clamp(1, self.steps - 1)
        low, high = self.ratio[i - 1].log(), self.ratio[i].log()
        t = i - 1 + (ratio.log() - low) / (high - low)
        return t.nan_to_num(nan=self.steps - 1).clamp(0, self.steps - 1)  # nan: an infinite ratio in the table

    def scale(self, level: Level) -> Float[Tensor, "*b"]:
        return (level.alpha**2 + level.sigma**2).rsqrt()

    def grid(self, steps: int | None) -> list[Level]:
        """Evenly spaced in t and rounded to indices, with the first and the last (one step: only the last)."""
        last = self.steps - 1
        steps = self.steps if steps is None else steps
        if not 1 <= steps <= self.steps:
            raise UserError(
                f"got sampler.steps={steps}, expected 1 to the model's {self.steps} steps; change sampler.steps"
            )
        visited = last - torch.arange(steps) * last // max(steps - 1, 1)
        return levels(self.table.alpha[visited], self.table.sigma[visited])


class VarianceExploding(Process):
    """EDM's process (Karras et al. 2022, https://arxiv.org/abs/2206.00364, equation 5): alpha = 1, t = sigma."""

    def __init__(
        self,
        *,
        sigma_min: PositiveFloat,  # the smallest noise level
        sigma_max: PositiveFloat,  # the largest noise level
        rho: PositiveFloat,  # larger: a sampler visits more low levels
    ):
        super().__init__()
        if not 0 < sigma_min < sigma_max:
            raise UserError(
                f"model.process has sigma_min={sigma_min} and sigma_max={sigma_max}, expected 0 < sigma_min < "
                "sigma_max; change one of them"
            )
        self.start, self.span, self.rho = sigma_max, (sigma_min, sigma_max), rho

    def level(self, t: Time) -> Level:
        return Level(torch.ones_like(t), t)

    def time(self, level: Level) -> Float[Tensor, "*b"]:
        return (level.sigma / level.alpha).clamp(*self.span)

    def scale(self, level: Level) -> Float[Tensor, "*b"]:
        return 1 / level.alpha

    def grid(self, steps: int | None) -> list[Level]:
        """sigma^(1/rho) evenly spaced from sigma_max to sigma_min (equation 5); one step: only sigma_max."""
        low, high = (sigma ** (1 / self.rho) for sigma in self.span)
        sigma = torch.linspace(high, low, number(steps), dtype=torch.float64) ** self.rho
        return levels(torch.ones_like(sigma), sigma)


class Straight(Process):
    """Flow matching's process (Lipman et al. 2023, https://arxiv.org/abs/2210.02747; Liu et al. 2023,
    https://arxiv.org/abs/2209.03003): straight lines from data at t = 0 to noise at t = 1, alpha = 1 - t, sigma = t."""

    start = 1.0
    span = (0.0, 1.0)

    def __init__(self) -> None:
        super().__init__()

    def level(self, t: Time) -> Level:
        return Level(1 - t, t)

    def time(self, level: Level) -> Float[Tensor, "*b"]:
        return level.sigma / (level.alpha + level.sigma)

    def scale(self, level: Level) -> Float[Tensor, "*b"]:
        return 1 / (level.alpha + level.sigma)

    def grid(self, steps: int | None) -> list[Level]:
        """t evenly spaced from 1 (no signal) to 0."""
        t = torch.linspace(1, 0, number(steps) + 1, dtype=torch.float64)[:-1]
        return levels(1 - t, t)


def levels(alpha: Float[Tensor, " t"], sigma: Float[Tensor, " t"]) -> list[Level]:
    """The levels one by one, then the level of clean data."""
    clean = Level(alpha.new_ones(()), sigma.new_zeros(()))
    return [*(Level(a, s) for a, s in zip(alpha, sigma, strict=True)), clean]


def number(steps: int | None) -> int:
    """`steps`; UserError if it is None."""
    if steps is None:
        raise UserError(
            "sampler.steps is null, which means all steps of a model with a fixed number of them, and this one has "
            "continuous time; give a number, such as sampler.steps=50"
        )
    return steps


def column(v: Shaped[Tensor, "*b"], x: Tensor) -> Tensor:
    """One number per sample of `x`, shaped to broadcast with it, in its dtype and on its device; () is unchanged."""
    return v.to(x).view(-1, *[1] * (x.ndim - 1)) if v.ndim else v
