"""The terms of DDPM's variational bound in nats (Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239, eq. 5).

-log p(x_0) <= L_T + sum over t of L_t + L_0
"""

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn
from torch.distributions import Normal

from genmodels.capabilities import Level, PerSample
from genmodels.errors import UserError
from genmodels.parts import discretized_gaussian
from genmodels.parts.processes import Discrete, Process
from genmodels.parts.spaces import Pixels, RealCode, Space
from genmodels.samplers.ancestral import Variance, reverse_variance


class VariationalBound(nn.Module):
    """The bound for a discrete process and this variance of the reverse steps; indices t start at 0."""

    excess: Tensor  # (T,), nats per dimension
    weight: Tensor  # (T,), nats per squared error

    def __init__(self, process: Process, variance: Variance):
        super().__init__()
        if not isinstance(process, Discrete):
            raise UserError(
                f"the variational bound needs a process of steps, and {type(process).__name__} has none; set "
                "model.scorer=null and another model/weighting, or choose model/process=discrete"
            )
        self.steps = process.steps
        self.last_alpha2 = process.table.alpha[-1].item() ** 2
        self.decoder_std = decoder_std(process.table)
        self.first_ratio = (process.table.sigma[0] / process.table.alpha[0]).item()
        excess, weight = kl_terms(process.table, variance)
        self.register_buffer("excess", excess.float(), persistent=False)
        self.register_buffer("weight", weight.float(), persistent=False)

    def prior(self, x0: RealCode) -> PerSample:
        """L_T: KL(q(x_T|x_0) | N(0, I))."""
        alpha2 = torch.tensor(self.last_alpha2, dtype=torch.float64)
        return per_sample(alpha2 * (x0**2 - 1) - torch.log1p(-alpha2)).sum(1) / 2

    def kl(self, x0: RealCode, x0_hat: RealCode, t: Int[Tensor, " b"] | int) -> PerSample:
        """L_t for t > 0: KL(q(x_{t-1}|x_t, x_0) | p(x_{t-1}|x_t)); 0 for t = 0."""
        error = per_sample(x0 - x0_hat).square()
        return error.sum(1) * self.weight[t] + error.shape[1] * self.excess[t]

    def decoder(self, x0: RealCode, x0_hat: RealCode, space: Space) -> PerSample:
        """L_0: -log p(x_0|x_1) of a Gaussian. For integers in `space` it is cut into one bin per value; for reals its
        width is that of q(x_0|x_1) for data with a spread much larger than the first noise."""
        if isinstance(space, Pixels):
            log_prob = discretized_gaussian.log_prob(x0, x0_hat, self.decoder_std, space.levels)
        else:
            log_prob = Normal(x0_hat, self.first_ratio).log_prob(x0)
        return -per_sample(log_prob).sum(1)


def kl_terms(table: Level, variance: Variance) -> tuple[Float64[Tensor, " t"], Float64[Tensor, " t"]]:
    """(excess, weight): the KL of one dimension at index t is excess[t] + weight[t] (x_0 - x0_hat)²; 0 at t = 0.

    It is KL(N(m, v) | N(m_hat, w)) with v = "small" and w = `variance`. With r = sigma/alpha of the higher level and
    r_s of the lower level, m - m_hat = alpha_s (1 - r_s²/r²)(x_0 - x0_hat).
    """
    higher, lower = (Level(*(part[of] for part in table)) for of in (slice(1, None), slice(-1)))
    v, w = (reverse_variance(higher, lower, which) for which in ("small", variance))
    shrinks = (lower.sigma * higher.alpha / (lower.alpha * higher.sigma)) ** 2
    excess = ((w / v).log() + v / w - 1) / 2
    weight = (lower.alpha * (1 - shrinks)) ** 2 / (2 * w)
    return torch.cat([v.new_zeros(1), excess]), torch.cat([v.new_zeros(1), weight])


def decoder_std(table: Level) -> float:
    """Std of p(x_0|x_1) for integers: that of q(x_1|x_2, x_0), as in the paper's code, since q(x_0|x_1, x_0) has 0."""
    first, second = (Level(table.alpha[i], table.sigma[i]) for i in (0, 1))
    return reverse_variance(second, first, "small").sqrt().item()


def clip_forward(x0_hat: RealCode, bounds: tuple[float, float] | None) -> RealCode:
    """`x0_hat` clipped, with the gradient of the identity, so that clipped values still get a gradient."""
    return x0_hat if bounds is None else x0_hat + (x0_hat.clamp(*bounds) - x0_hat).detach()


def per_sample(x: RealCode) -> Float[Tensor, "b dims"]:
    """All numbers of a sample in one dimension."""
    return x.flatten(1)
