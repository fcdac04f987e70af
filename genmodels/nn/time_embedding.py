"""Embedding of time and label: sinusoids (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), then an MLP."""

from math import log

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import silu

from genmodels.capabilities import Labels
from genmodels.nn.unet_layers import initialised


def sinusoids(t: Shaped[Tensor, "b"], dim: int) -> Float[Tensor, "b {dim}"]:
    """sin(w t), cos(w t) for dim/2 frequencies w from 1 down to 1/10000 in geometric steps; dim even, >= 4."""
    half = dim // 2
    w = torch.exp(torch.arange(half, device=t.device) * (-log(10_000) / (half - 1)))
    wt = t.float()[:, None] * w  # (b, dim/2)
    return torch.cat([wt.sin(), wt.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """What every residual block is told: time t and, with `classes`, label y."""

    def __init__(self, channels: int, out: int, classes: int | None):
        super().__init__()
        self.channels = channels
        self.first = initialised(nn.Linear(channels, out))
        self.second = initialised(nn.Linear(out, out))
        self.label = None if classes is None else nn.Embedding(classes, out)

    def forward(self, t: Shaped[Tensor, "b"], y: Labels | None) -> Float[Tensor, "b out"]:
        """Times (b,), integer or not, and labels (b,) or None -> (b, out)."""
        waves = sinusoids(t, self.channels).to(self.first.weight)
        emb = self.second(silu(self.first(waves)))
        return emb if self.label is None else emb + self.label(y)
