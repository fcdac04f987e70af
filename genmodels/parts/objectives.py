"""Training objectives of a variational autoencoder: bounds of -log p(x) from draws z_1, ..., z_k from q(z|x).

ELBO (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114) with a weight beta of its rate (Higgins et al. 2017,
https://openreview.net/forum?id=Sy2fzU9gl), which may increase from 0 at first (Bowman et al. 2016,
https://arxiv.org/abs/1511.06349, section 3.1); importance-weighted bound (Burda et al. 2016,
https://arxiv.org/abs/1509.00519, equation 8).
"""

from abc import ABC, abstractmethod
from math import log

from genmodels.capabilities import Clock, FollowsClock, PerSample, Terms
from genmodels.errors import UserError
from genmodels.nn.shapes import PerDraw
from genmodels.ranges import NonNegativeFloat, NonNegativeInt, PositiveInt


class Objective(FollowsClock, ABC):
    """An objective per sample from k draws of z; its terms are in nats, (b,)."""

    draws: int  # k

    def __init__(self, *, draws: PositiveInt):
        if draws < 1:
            raise UserError(f"model.objective.draws is {draws}, expected at least 1")
        self.draws = draws

    @abstractmethod
    def __call__(self, log_likelihood: PerDraw, log_ratio: PerDraw, kl: PerSample) -> Terms:
        """The loss and its terms from log p(x|z_i), log p(z_i)/q(z_i|x) and KL(q(z|x) | p(z))."""


class ELBO(Objective):
    """-E_q[log p(x|z)] + beta KL(q(z|x) | p(z))."""

    def __init__(
        self,
        *,
        draws: PositiveInt,
        beta: NonNegativeFloat,  # weight of the KL; 1: the ELBO itself
        warmup_steps: NonNegativeInt,  # steps in which the weight of the KL increases from 0 to beta; 0: none
    ):
        super().__init__(draws=draws)
        if warmup_steps < 0:
            raise UserError(f"model.objective.warmup_steps is {warmup_steps}, expected 0 (none) or more")
        self.beta = beta
        self.warmup_steps = warmup_steps
        self.weight = beta  # now

    def at(self, clock: Clock) -> None:
        self.weight = self.beta * min(1, clock.step / self.warmup_steps) if self.warmup_steps else self.beta

    def __call__(self, log_likelihood: PerDraw, log_ratio: PerDraw, kl: PerSample) -> Terms:
        distortion = -log_likelihood.mean(0)
        return {"loss": distortion + self.weight * kl, "rate": kl, "distortion": distortion}


class ImportanceWeighted(Objective):
    """-log 1/k sum_i w_i with w_i = p(x|z_i) p(z_i) / q(z_i|x)."""

    def __call__(self, log_likelihood: PerDraw, log_ratio: PerDraw, kl: PerSample) -> Terms:
        log_w = log_likelihood + log_ratio
        bound = log_w.logsumexp(0) - log(self.draws)
        return {"loss": -bound, "rate": kl, "distortion": -log_likelihood.mean(0)}
