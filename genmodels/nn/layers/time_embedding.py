"""Embedding of time and condition: sinusoids (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), then an MLP."""

from math import log

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import silu

from genmodels.context import Context
from genmodels.nn.layers.unet import initialised


def sinusoids(t: Shaped[Tensor, " b"], dim: int) -> Float[Tensor, "b {dim}"]:
    """sin(w t) and cos(w t) for dim/2 frequencies w in geometric steps from 1 to 1/10000; dim is even and >= 4."""
    half = dim // 2
    w = torch.exp(torch.arange(half, device=t.device) * (-log(10_000) / (half - 1)))
    wt = t.to(torch.promote_types(t.dtype, torch.float32))[:, None] * w  # (b, dim/2)
    return torch.cat([wt.sin(), wt.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """The input of every residual block about time t and the context's vector of width `vector` (0: none)."""

    def __init__(self, channels: int, out: int, vector: int):
        super().__init__()
        self.channels = channels
        self.first = initialised(nn.Linear(channels, out))
        self.second = initialised(nn.Linear(out, out))
        self.vector = embedding(vector, out) if vector else None

    def forward(self, t: Shaped[Tensor, " b"], context: Context) -> Float[Tensor, "b out"]:
        """Times (b,), integer or not, and a context -> (b, out)."""
        waves = sinusoids(t, self.channels).to(self.first.weight)
        emb = self.second(silu(self.first(waves)))
        return emb if self.vector is None else emb + self.vector(context.vector)


def embedding(vector: int, out: int) -> nn.Linear:
    """A linear map whose columns are drawn from N(0, I), as for label embeddings: a one-hot vector selects a column."""
    layer = nn.Linear(vector, out, bias=False)
    nn.init.normal_(layer.weight)
    return layer
