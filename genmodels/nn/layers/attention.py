"""Self-attention over the positions of an image, one head (Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239)."""

from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.nn.layers.unet import ALMOST_ZERO, group_norm, initialised


class AttentionBlock(nn.Module):
    """x + proj(attention(norm(x))), where every position attends to all positions."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm = group_norm(channels, groups)
        # gain sqrt(2): weights as for three separate maps, not for one with 3x the outputs
        self.qkv = initialised(nn.Conv2d(channels, 3 * channels, 1), gain=sqrt(2))
        self.proj = initialised(nn.Conv2d(channels, channels, 1), gain=ALMOST_ZERO)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """(b, c, h, w) -> the same shape."""
        q, k, v = self.qkv(self.norm(x)).flatten(2).chunk(3, dim=1)  # (b, c, hw) each
        logits = q.transpose(1, 2) @ (k / sqrt(x.shape[1]))  # divided first: float16 ends at 65504
        full = torch.promote_types(logits.dtype, torch.float32)  # even under autocast
        weights = logits.to(full).softmax(dim=2).to(v.dtype)  # (b, hw, hw): each row sums to 1
        return x + self.proj((v @ weights.transpose(1, 2)).reshape(x.shape))
