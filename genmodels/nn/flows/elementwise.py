"""Increasing maps of single numbers with parameters from a network: what couplings and autoregressive flows apply.

z = g(x; theta) for each number of a sample, with a strictly increasing g of x; theta holds `n_params`
parameters for each number.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

Numbers = Float[Tensor, "b *numbers"]
Parameters = Float[Tensor, "b n_params *numbers"]

SMALLEST_SCALE = 1e-3
LARGEST_LOG_STD = 5.0


class Elementwise(nn.Module, ABC):
    """g, computed in the precision of its input."""

    n_params: int  # how many parameters each number has

    @abstractmethod
    def forward(self, x: Numbers, theta: Parameters) -> tuple[Numbers, Numbers]:
        """z = g(x; theta) and log(dz/dx), one for each number."""

    @abstractmethod
    def inverse(self, z: Numbers, theta: Parameters) -> Numbers:
        """x with g(x; theta) = z."""


class Affine(Elementwise):
    """z = x ⊙ exp(s) + t with theta = (r, t), where `log_scale` gives s."""

    n_params = 2

    @abstractmethod
    def log_scale(self, r: Numbers) -> Numbers:
        """s, which may be bounded, so that neither exp(s) nor exp(-s) explodes."""

    def forward(self, x: Numbers, theta: Parameters) -> tuple[Numbers, Numbers]:
        r, t = theta.unbind(1)
        s = self.log_scale(r)
        return x * s.exp() + t, s

    def inverse(self, z: Numbers, theta: Parameters) -> Numbers:
        r, t = theta.unbind(1)
        return (z - t) * (-self.log_scale(r)).exp()


class TanhAffine(Affine):
    """s = scale · tanh(r) with a learned scale for each channel, as in RealNVP (Dinh et al. 2017,
    https://arxiv.org/abs/1605.08803, section 4.1)."""

    def __init__(
        self,
        *,
        channels: int,
        dims: int,  # dimensions of a sample: 1 for points, 3 for images
    ):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, *[1] * (dims - 1)))

    def log_scale(self, r: Numbers) -> Numbers:
        return self.scale * r.tanh()


class SigmoidAffine(Affine):
    """exp(s) = sigmoid(r + 2) + 0.001, as in the code of Glow's authors (Kingma & Dhariwal 2018,
    https://arxiv.org/abs/1807.03039): near 1 at first and always between 0.001 and 1.001."""

    def log_scale(self, r: Numbers) -> Numbers:
        return ((r + 2).sigmoid() + SMALLEST_SCALE).log()


class GaussianAffine(Elementwise):
    """z = (x - mu) exp(-alpha): the noise of an x from N(mu, exp(alpha)²), as in MAF (Papamakarios et al. 2017,
    https://arxiv.org/abs/1705.07057, equation 4); theta = (mu, r) and alpha = 5 tanh(r/5).

    In the paper alpha is r, whose exponential overflows far from the data.
    """

    n_params = 2

    def forward(self, x: Numbers, theta: Parameters) -> tuple[Numbers, Numbers]:
        mu, alpha = self.mu_and_alpha(theta)
        return (x - mu) * (-alpha).exp(), -alpha

    def inverse(self, z: Numbers, theta: Parameters) -> Numbers:
        mu, alpha = self.mu_and_alpha(theta)
        return z * alpha.exp() + mu

    def mu_and_alpha(self, theta: Parameters) -> tuple[Numbers, Numbers]:
        mu, r = theta.unbind(1)
        return mu, LARGEST_LOG_STD * (r / LARGEST_LOG_STD).tanh()


class Shift(Elementwise):
    """z = x + t with theta = (t,): an additive coupling (Dinh et al. 2015, https://arxiv.org/abs/1410.8516, section
    3.2), which keeps volume."""

    n_params = 1

    def forward(self, x: Numbers, theta: Parameters) -> tuple[Numbers, Numbers]:
        return x + theta[:, 0], torch.zeros_like(x)

    def inverse(self, z: Numbers, theta: Parameters) -> Numbers:
        return z - theta[:, 0]
