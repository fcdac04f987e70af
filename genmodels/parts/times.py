"""At which times t a diffusion model is trained."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from genmodels.capabilities import Level
from genmodels.errors import UserError
from genmodels.parts.processes import Discrete, Process
from genmodels.ranges import FiniteFloat, PositiveFloat


class Times(ABC):
    """A distribution of t over the span of a process."""

    whole = False  # whether the times are indices of a discrete process

    @abstractmethod
    def draw(self, process: Process, n: int, device: torch.device) -> Shaped[Tensor, " n"]:
        """`n` times, from torch's global generator."""

    def check(self, process: Process) -> None:  # noqa: B027  most go with every process
        """UserError if a process has no such times."""


class Steps(Times):
    """One of a discrete process's steps, uniformly (DDPM: Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239)."""

    whole = True

    def draw(self, process: Process, n: int, device: torch.device) -> Shaped[Tensor, " n"]:
        assert isinstance(process, Discrete)
        return torch.randint(process.steps, (n,), device=device)

    def check(self, process: Process) -> None:
        if not isinstance(process, Discrete):
            raise UserError(
                f"model/times=steps needs a process of steps, and {type(process).__name__} has none; choose "
                "model/times=uniform, or model/process=discrete"
            )


class Uniform(Times):
    """Uniformly over the span (flow matching: Lipman et al. 2023, https://arxiv.org/abs/2210.02747)."""

    def draw(self, process: Process, n: int, device: torch.device) -> Float[Tensor, " n"]:
        return spread(torch.rand(n, device=device), process)


@dataclass(frozen=True, kw_only=True)
class LogNormal(Times):
    """log(sigma/alpha) ~ N(mean, std²) (EDM: Karras et al. 2022, https://arxiv.org/abs/2206.00364, table 1)."""

    mean: FiniteFloat  # P_mean
    std: PositiveFloat  # P_std

    def draw(self, process: Process, n: int, device: torch.device) -> Float[Tensor, " n"]:
        ratio = (self.mean + self.std * torch.randn(n, device=device)).exp()
        return process.time(Level(torch.ones_like(ratio), ratio))


@dataclass(frozen=True, kw_only=True)
class LogitNormal(Times):
    """The sigmoid of N(mean, std²), stretched over the span (Esser et al. 2024, https://arxiv.org/abs/2403.03206,
    section 3.1)."""

    mean: FiniteFloat  # of logit(t)
    std: PositiveFloat  # of logit(t)

    def draw(self, process: Process, n: int, device: torch.device) -> Float[Tensor, " n"]:
        return spread((self.mean + self.std * torch.randn(n, device=device)).sigmoid(), process)


def spread(u: Float[Tensor, " n"], process: Process) -> Float[Tensor, " n"]:
    """Maps [0, 1] linearly to the span of a process."""
    low, high = process.span
    return low + (high - low) * u
