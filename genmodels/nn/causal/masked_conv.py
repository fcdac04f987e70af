"""The two convolutions of a PixelCNN without blind spot: over the rows above, and along the row.

Source: Gated PixelCNN (van den Oord et al. 2016, https://arxiv.org/abs/1606.05328), section 2.2,
figure 1, with the channel masks of PixelRNN (van den Oord et al. 2016,
https://arxiv.org/abs/1601.06759), figure 2: every feature belongs to one of the image's channels,
and at its own pixel it sees only features of earlier channels (mask A), or also of its own (mask B).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


def channel_of(features: int, channels: int) -> Int[Tensor, " features"]:
    """The image channel that each feature belongs to: 0, 1, ..., channels - 1, 0, 1, ..."""
    return torch.arange(features) % channels


class RowsConv(nn.Module):
    """⌈k/2⌉ x k convolution over a pixel's row and the rows above it, to both sides."""

    def __init__(self, *, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.above = kernel // 2  # rows above the pixel's own
        self.conv = nn.Conv2d(inputs, outputs, (self.above + 1, kernel), padding=(0, kernel // 2))

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        return self.conv(F.pad(x, (0, 0, self.above, 0)))


class MaskedConv(nn.Module):
    """1 x `taps` convolution over a pixel and the pixels left of it, masked by channel at the pixel itself.

    `inputs` and `outputs` give the image channel of each feature. At its own pixel an output sees
    only inputs of earlier channels (`strict`, mask A), or also those of its own channel (mask B).
    With one tap it is a masked 1 x 1 convolution.
    """

    mask: Tensor

    def __init__(self, *, inputs: Int[Tensor, " i"], outputs: Int[Tensor, " o"], taps: int, strict: bool):
        super().__init__()
        self.inputs, self.outputs, self.taps = inputs, outputs, taps
        self.conv = nn.Conv2d(len(inputs), len(outputs), (1, taps))
        mask = torch.ones(len(outputs), len(inputs), 1, taps)
        gap = outputs[:, None] - inputs[None, :]  # (o, i)
        mask[:, :, 0, -1] = (gap > 0) if strict else (gap >= 0)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        return F.conv2d(F.pad(x, (self.taps - 1, 0)), self.kernel, self.conv.bias)

    @property
    def kernel(self) -> Float[Tensor, "o i 1 taps"]:
        """The weights, zero where the mask is zero."""
        return self.conv.weight * self.mask
