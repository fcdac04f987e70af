"""Layers of WaveNet (van den Oord et al. 2016, https://arxiv.org/abs/1609.03499), section 2."""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context
from genmodels.nn.causal.gated_layer import gate

Sequences = Float[Tensor, "b _p _t"]


class DilatedConv(nn.Module):
    """Convolution over a step and `kernel` - 1 steps before it, `dilation` apart; zeros before the first step."""

    def __init__(self, *, inputs: int, outputs: int, kernel: int, dilation: int):
        super().__init__()
        self.past = (kernel - 1) * dilation  # steps back to the first one that it reads
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation)

    def forward(self, x: Sequences) -> Sequences:
        return self.conv(F.pad(x, (self.past, 0)))


class DilatedLayer(nn.Module):
    """z = tanh(W_f * x + V_f h) ⊙ σ(W_g * x + V_g h), equations 2 and 3, with its residual and its skip connection."""

    def __init__(
        self, *, width: int, head_width: int, kernel: int, dilation: int, last: bool, vector: int, dropout: float
    ):
        super().__init__()
        self.conv = DilatedConv(inputs=width, outputs=2 * width, kernel=kernel, dilation=dilation)
        self.told = nn.Linear(vector, 2 * width, bias=False) if vector else None
        self.more = None if last else nn.Conv1d(width, width, 1)  # nothing follows the last layer
        self.skip = nn.Conv1d(width, head_width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Sequences, context: Context) -> tuple[Sequences, Sequences]:
        return self.changed(x, context, lambda x: self.conv(self.dropout(x)))

    def changed(self, x: Sequences, context: Context, conv: Callable[[Tensor], Tensor]) -> tuple[Sequences, Sequences]:
        """The next layer's input and the skip connection, with this convolution: its own, or a cached version."""
        a = conv(x)
        if self.told is not None and context.vector is not None:
            a = a + self.told(context.vector.to(a.dtype))[:, :, None]
        z = gate(a)
        return x if self.more is None else x + self.more(z), self.skip(z)
