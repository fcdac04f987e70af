"""Training losses of a diffusion network from the error of its output F against the target F*."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from genmodels.capabilities import Level, PerSample
from genmodels.parts.bounds import VariationalBound, clip_forward, per_sample
from genmodels.parts.processes import Process, column
from genmodels.parts.spaces import RealCode, Space
from genmodels.ranges import PositiveFloat
from genmodels.samplers.ancestral import Variance


class Guess(NamedTuple):
    """A network's output at one time for each sample, with the right values."""

    x0: RealCode
    estimate: RealCode  # D
    output: RealCode  # F
    target: RealCode  # F*
    t: Shaped[Tensor, " b"]
    level: Level  # of shape (b,)
    c_out: Float[Tensor, " b"] | float  # x_0 - D = c_out (F* - F)

    def error(self) -> PerSample:
        """(F* - F)², averaged over dimensions."""
        return per_sample(self.target - self.output).square().mean(1)


class Weighting(nn.Module, ABC):
    """A loss of each sample."""

    whole_steps = False  # whether it needs times that are indices of a discrete process

    @abstractmethod
    def forward(self, guess: Guess, space: Space) -> PerSample:
        """The loss, (b,)."""


class Simple(Weighting):
    """(F - F*)²: DDPM's simple loss (equation 14) if F is the noise, flow matching's if it is the velocity.

    With EDM's parametrization it is EDM's loss: lambda(sigma) (D - x_0)² with lambda = 1/c_out² is (F - F*)² with
    weight 1.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, guess: Guess, space: Space) -> PerSample:
        return guess.error()


class MinSNR(Weighting):
    """min(SNR, gamma) (D - x_0)² with SNR = alpha²/sigma² (Hang et al. 2023, https://arxiv.org/abs/2303.09556)."""

    def __init__(
        self,
        *,
        gamma: PositiveFloat,  # the signal-to-noise ratio from which the weight is constant
    ):
        super().__init__()
        self.gamma = gamma

    def forward(self, guess: Guess, space: Space) -> PerSample:
        alpha, sigma = guess.level
        return (alpha / sigma).square().clamp(max=self.gamma) * guess.c_out**2 * guess.error()


class Variational(Weighting):
    """T times the variational bound's term at t: an unbiased estimate of the bound without its constant, in nats.

    Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239, equation 5. The estimate of x_0 is clipped
    as in the bound, but the gradient ignores the clipping.
    """

    whole_steps = True

    def __init__(
        self,
        *,
        process: Process,
        variance: Variance,  # of the reverse process in the bound: small, large
    ):
        super().__init__()
        self.bound = VariationalBound(process, variance)

    def forward(self, guess: Guess, space: Space) -> PerSample:
        x0, t = guess.x0, guess.t
        x0_hat = clip_forward(guess.estimate, space.range)
        first = t == 0
        near = torch.where(column(first, x0).bool(), x0_hat, x0)  # elsewhere the gradient overflows, and 0 inf is nan
        nats = torch.where(first, self.bound.decoder(x0, near, space), self.bound.kl(x0, x0_hat, t))
        return self.bound.steps * nats
