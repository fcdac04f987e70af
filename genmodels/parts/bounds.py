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
from genmodels.parts.spaces import Pixels, Space
from genmodels.samplers.ancestral import Variance, reverse_variance

Code = Float[Tensor, "b *code"]


class VariationalBound(nn.Module):
    """The bound of a discrete process whose reverse steps have this variance; indices t count from 0."""

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

    def prior(self, x0: Code) -> PerSample:
        """L_T: KL of q(x_T|x_0) from N(0, I)."""
        alpha2 = torch.tensor(self.last_alpha2, dtype=torch.float64)
        return per_sample(alpha2 * (x0**2 - 1) - torch.log1p(-alpha2)).sum(1) / 2

    def kl(self, x0: Code, x0_hat: Code, t: Int[Tensor, " b"] | int) -> PerSample:
        """L_t of t > 0: KL of q(x_{t-1}|x_t, x_0) from p(x_{t-1}|x_t); 0 for t = 0."""
        error = per_sample(x0 - x0_hat).square()
        return error.sum(1) * self.weight[t] + error.shape[1] * self.excess[t]

    def decoder(self, x0: Code, x0_hat: Code, space: Space) -> PerSample:
        """L_0: -log p(x_0|x_1) of a Gaussian: where `space` has integers, cut into one bin per value; where it has real
        numbers, as wide as q(x_0|x_1) where the data are spread much wider than the first noise."""
        if isinstance(space, Pixels):
            log_prob = discretized_gaussian.log_prob(x0, x0_hat, self.decoder_std, space.levels)
        else:
            log_prob = Normal(x0_hat, self.first_ratio).log_prob(x0)
        return -per_sample(log_prob).sum(1)


def kl_terms(table: Level, variance: Variance) -> tuple[Float64[Tensor, " t"], Float64[Tensor, " t"]]:
    """(excess, weight) such that a dimension's KL at index t is excess[t] + weight[t] (x_0 - x0_hat)²; 0 at t = 0.

    Of N(m, v) with v = "small" from N(m_hat, w) with w = `variance`; with r = sigma/alpha of the higher level and
    r_s of the lower, m - m_hat = alpha_s (1 - r_s²/r²)(x_0 - x0_hat).
    """
    higher, lower = (Level(*(part[of] for part in table)) for of in (slice(1, None), slice(-1)))
    v, w = (reverse_variance(higher, lower, which) for which in ("small", variance))
    shrinks = (lower.sigma * higher.alpha / (lower.alpha * higher.sigma)) ** 2
    excess = ((w / v).log() + v / w - 1) / 2
    weight = (lower.alpha * (1 - shrinks)) ** 2 / (2 * w)
    return torch.cat([v.new_zeros(1), excess]), torch.cat([v.new_zeros(1), weight])


def decoder_std(table: Level) -> float:
    """Standard deviation of p(x_0|x_1) of integers: that of q(x_1|x_2, x_0), as in the paper's code; q's own is 0."""
    first, second = (Level(table.alpha[i], table.sigma[i]) for i in (0, 1))
    return reverse_variance(second, first, "small").sqrt().item()


def clip_forward(x0_hat: Code, bounds: tuple[float, float] | None) -> Code:
    """`x0_hat` clipped, with the gradient of the identity, so that what is clipped goes on learning."""
    return x0_hat if bounds is None else x0_hat + (x0_hat.clamp(*bounds) - x0_hat).detach()


def per_sample(x: Code) -> Float[Tensor, "b dims"]:
    """Each sample's numbers in a row."""
    return x.flatten(1)
