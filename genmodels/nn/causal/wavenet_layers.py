"""Layers of WaveNet (van den Oord et al. 2016, https://arxiv.org/abs/1609.03499), section 2."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context
from genmodels.nn.causal.gated_layer import gate

Sequences = Float[Tensor, "b t _p"]


class DilatedConv(nn.Module):
    """Convolution over a step and `kernel` - 1 steps before it, `dilation` apart; zeros before the first step."""

    def __init__(self, *, inputs: int, outputs: int, kernel: int, dilation: int):
        super().__init__()
        self.inputs = inputs
        self.backs = [dilation * i for i in reversed(range(kernel))]  # how many steps back it reads
        self.linear = nn.Linear(kernel * inputs, outputs)

    def forward(self, x: Sequences) -> Sequences:
        return self.linear(torch.cat([F.pad(x, (0, 0, back, 0))[:, : x.shape[1]] for back in self.backs], dim=2))


class DilatedLayer(nn.Module):
    """z = tanh(W_f * x + V_f h) ⊙ σ(W_g * x + V_g h), equations 2 and 3, and the residual connection."""

    def __init__(self, *, width: int, kernel: int, dilation: int, last: bool, vector: int, dropout: float):
        super().__init__()
        self.conv = DilatedConv(inputs=width, outputs=2 * width, kernel=kernel, dilation=dilation)
        self.told = nn.Linear(vector, 2 * width, bias=False) if vector else None
        self.more = None if last else nn.Linear(width, width)  # nothing follows the last layer
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Sequences, context: Context) -> tuple[Sequences, Sequences]:
        return self.changed(x, context, lambda x: self.conv(self.dropout(x)))

    def changed(self, x: Sequences, context: Context, conv: Callable[[Tensor], Tensor]) -> tuple[Sequences, Sequences]:
        """The next layer's input, and z, with this convolution: its own, or a cached version."""
        a = conv(x)
        if self.told is not None and context.vector is not None:
            a = a + self.told(context.vector.to(a.dtype))[:, None]
        z = gate(a, dim=2)
        return x if self.more is None else x + self.more(z), z
