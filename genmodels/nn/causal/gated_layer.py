"""A layer of the Gated PixelCNN (van den Oord et al. 2016, https://arxiv.org/abs/1606.05328), figure 2."""

from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context
from genmodels.nn.causal.masked_conv import MaskedConv, RowsConv, channel_of


def gate(a: Float[Tensor, "..."], dim: int = 1) -> Float[Tensor, "..."]:
    """y = tanh(a_f) ⊙ σ(a_g), equation 2, where a_f and a_g are the two halves of the features, along `dim`."""
    f, g = a.chunk(2, dim)
    return f.tanh() * g.sigmoid()


class GatedLayer(nn.Module):
    """The next features of the vertical stack, and the change of the horizontal stack's features."""

    def __init__(
        self, *, channels: int, inputs: int, width: int, kernel: int, strict: bool, vector: int, dropout: float
    ):
        super().__init__()
        own = channel_of(width, channels)
        self.vertical = RowsConv(inputs=inputs, outputs=2 * width, kernel=kernel)
        self.across = nn.Conv2d(2 * width, 2 * width, 1)
        self.horizontal = MaskedConv(
            inputs=channel_of(inputs, channels), outputs=own.repeat(2), taps=kernel // 2 + 1, strict=strict
        )
        self.mix = MaskedConv(inputs=own, outputs=own, taps=1, strict=False)
        self.dropout = nn.Dropout(dropout)
        self.told = nn.Linear(vector, 4 * width, bias=False) if vector else None
        if self.told is not None:
            nn.init.normal_(self.told.weight, std=0.1)  # small compared with the convolution it is added to

    def forward(self, v: Tensor, h: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        v, across = self.look_up(self.vertical(v), context)
        more = self.mix(self.dropout(gate(self.horizontal(h) + across)))
        return self.dropout(v), more  # dropped last: the last layer's v is unused, and compilers skip it

    def look_up(self, a: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """From the vertical convolution: the vertical stack's features, and its input to the horizontal gates."""
        across = self.across(a)
        if self.told is None or context.vector is None:
            return gate(a), across
        bias_v, bias_h = self.told(context.vector.to(a.dtype))[:, :, None, None].chunk(2, dim=1)  # Vᵀh, equation 4
        return gate(a + bias_v), across + bias_h
