"""Mean and covariance of features from three float64 sums, which are added over batches and processes."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor


class Sums(NamedTuple):
    """The number of features, their sum, and the sum of their outer products."""

    n: Float64[Tensor, ""]
    total: Float64[Tensor, " d"]
    outer: Float64[Tensor, "d d"]


def zeros(d: int, device: torch.device) -> Sums:
    """The sums of no features."""
    n, total, outer = (torch.zeros(shape, dtype=torch.float64, device=device) for shape in [(), (d,), (d, d)])
    return Sums(n, total, outer)


def sums(f: Float[Tensor, "b d"]) -> Sums:
    """The sums of a batch of features."""
    f = f.double()
    return Sums(f.new_tensor(len(f)), f.sum(0), f.T @ f)


def moments(s: Sums) -> tuple[Float64[Tensor, " d"], Float64[Tensor, "d d"]]:
    """Mean and unbiased covariance (n - 1) from the sums; n >= 2."""
    mu = s.total / s.n
    return mu, (s.outer - s.n * torch.outer(mu, mu)) / (s.n - 1)
