"""Batch normalization as a bijection (Dinh et al. 2017, https://arxiv.org/abs/1605.08803, section 3.7; Papamakarios et
al. 2017, https://arxiv.org/abs/1705.07057, section 3.1)."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.nn.flows.bijections import Bijection, Reals, flagged
from genmodels.nn.layers.batch_norm import Moments, global_moments, moments, several_processes
from genmodels.ranges import PositiveInt

EPSILON = 1e-5  # added to variances
MOMENTUM = 0.1  # weight of a batch in the running moments
PerChannel = Float[Tensor, "c *ones"]


class BatchNorm(Bijection):
    """z = (x - m) / sqrt(v + eps) ⊙ exp(gamma) + beta for each channel; ladj = Σ gamma - log(v + eps)/2.

    In training m and v are the moments of the batch, over all processes. Otherwise they are constants, so that the flow
    is a density of single samples: for an evaluation the moments of `standing_batches` batches of training data
    together, as the paper has those of all training data, and without it the running moments of training.
    """

    settling = False  # whether the moments of the next input become the constants
    m: Tensor
    v: Tensor

    def __init__(
        self,
        *,
        shape: Sequence[int],  # of a sample: (d,) or (c, h, w)
        standing_batches: PositiveInt,
    ):
        super().__init__()
        self.standing_batches, self.ones = standing_batches, [1] * (len(shape) - 1)
        self.gamma = nn.Parameter(torch.zeros(shape[0], *self.ones))
        self.beta = nn.Parameter(torch.zeros(shape[0], *self.ones))
        self.register_buffer("m", torch.zeros(shape[0]))
        self.register_buffer("v", torch.ones(shape[0]))

    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        m, log_scale = self.m_and_log_scale(*self.now(x))
        return (x - m) * log_scale.exp() + self.beta, log_scale.expand_as(x).flatten(1).sum(1)

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        m, log_scale = self.m_and_log_scale(self.m, self.v)
        return (z - self.beta) * (-log_scale).exp() + m

    def now(self, x: Reals) -> Moments:
        """The mean and the variance that normalize this input; those of a batch move the running ones."""
        if self.settling:
            self.move_running(moments(x), weight=1.0)
        elif self.training:
            found = global_moments(x) if several_processes() else moments(x)
            self.move_running(found, weight=MOMENTUM)
            return found
        return self.m, self.v

    @torch.no_grad()
    def move_running(self, found: Moments, weight: float) -> None:
        for running, new in zip((self.m, self.v), found, strict=True):
            running.lerp_(new.to(running), weight)

    def m_and_log_scale(self, m: Float[Tensor, " c"], v: Float[Tensor, " c"]) -> tuple[PerChannel, PerChannel]:
        return m.view(-1, *self.ones), self.gamma - (v + EPSILON).log().view(-1, *self.ones) / 2


def settling(f: nn.Module) -> AbstractContextManager[None]:
    """Within the block the moments of its input become the constants of every BatchNorm in `f`; one pass sets all."""
    return flagged(f, BatchNorm, "settling")
