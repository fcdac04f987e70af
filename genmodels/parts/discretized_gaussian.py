"""A Gaussian on [-1, 1] cut into one bin per data value (Ho, Jain & Abbeel 2020, arXiv:2006.11239, eq. 13)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.special import log_ndtr


def log_prob(
    x: Float[Tensor, "*shape"], mean: Float[Tensor, "*shape"], std: float, levels: int
) -> Float[Tensor, "*shape"]:
    """log P(x) in nats, per entry, of values `x` on `levels` equally spaced points of [-1, 1].

    Each point's bin reaches 1/(levels - 1) to both sides; the two outer bins include the tails, so that all
    probabilities sum to 1. It is accurate far from the mean too, where the difference of two cumulative
    probabilities would be 0.
    """
    half = 1 / (levels - 1)
    low, high = (x - half - mean) / std, (x + half - mean) / std  # the bin's ends, standardized
    inner = log_difference(low, high)
    return torch.where(x < half - 1, log_ndtr(high), torch.where(x > 1 - half, log_ndtr(-low), inner))


def log_difference(low: Float[Tensor, "*shape"], high: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """log(Phi(high) - Phi(low)) for low < high, computed in the lower tail, where Phi is precise."""
    upper = low + high > 0
    a, b = torch.where(upper, -high, low), torch.where(upper, -low, high)
    return log_ndtr(b) + torch.log(-torch.expm1(log_ndtr(a) - log_ndtr(b)))
