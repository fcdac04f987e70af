"""Guidance: a denoiser that moves away from the estimate of a worse one.

Classifier-free: Ho & Salimans 2022, https://arxiv.org/abs/2207.12598, equation 6, whose 1 + w is `scale`; in an
interval of noise levels: Kynkäänniemi et al. 2024, https://arxiv.org/abs/2404.07724; with any worse model: Karras et
al. 2024, https://arxiv.org/abs/2406.02507.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from genmodels.capabilities import Denoiser, Level
from genmodels.parts.processes import column


def guided(good: Denoiser, bad: Denoiser, scale: float, interval: Sequence[float] | None = None) -> Denoiser:
    """D_bad + scale (D_good - D_bad) where low <= sigma/alpha <= high, and D_good elsewhere.

    At scale 1 this is `good`. If the whole batch has one level, `bad` is called only inside the interval.
    """
    if scale == 1:
        return good
    low, high = interval or (0.0, float("inf"))

    def denoiser(x: Tensor, level: Level) -> Tensor:
        ratio = level.sigma / level.alpha
        inside = (low <= ratio) & (ratio <= high)
        if interval is not None and not inside.ndim and not inside:
            return good(x, level)
        better, worse = good(x, level), bad(x, level)
        both = worse + scale * (better - worse)
        return both if interval is None or not inside.ndim else torch.where(column(inside, x).bool(), both, better)

    return denoiser


def clipped(denoiser: Denoiser, bounds: tuple[float, float] | None) -> Denoiser:
    """The denoiser with its estimates clipped to `bounds`, if any (DDPM: Ho, Jain & Abbeel 2020, section 3)."""
    return denoiser if bounds is None else lambda x, level: denoiser(x, level).clamp(*bounds)
