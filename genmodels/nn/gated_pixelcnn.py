"""Gated PixelCNN (van den Oord et al. 2016, https://arxiv.org/abs/1606.05328).

Two stacks of gated convolutions: the vertical one sees every row above, the horizontal one the
pixels to the left and, through the vertical one, all that is above, so that there is no blind
spot. Dropout between layers is ours; the paper has none.
"""

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import Labels
from genmodels.errors import UserError
from genmodels.nn.causal import CausalNetwork
from genmodels.nn.gated_layer import GatedLayer
from genmodels.nn.masked_conv import MaskedConv, channel_of
from genmodels.nn.pixelcnn_cache import PixelCNNCache


class GatedPixelCNN(CausalNetwork):
    """Logits (b, levels, c, h, w) of every entry of x (b, c, h, w) on [-1, 1], given those before it.

    The horizontal stack is residual from the second layer on. Each feature of it belongs to one
    of the c channels and sees, at its pixel, only the channels before (first layer) or the
    features up to its own (after), so that blue is given green and red, and green is given red.
    """

    def __init__(
        self,
        *,
        shape: Sequence[int],  # (c, h, w) of an image
        levels: int,  # values that an entry can take
        classes: int | None,  # labels the network is conditional on
        width: int,  # features of each stack, at least one for every channel
        layers: int,  # gated layers
        first_kernel: int,  # odd: the first layer sees k//2 + 1 rows and k//2 columns back
        kernel: int,  # odd: likewise, of the other layers
        head_width: int,  # features between the two 1 x 1 convolutions that end in the logits
        dropout: float,  # probability that a feature between layers is dropped in training
    ):
        super().__init__()
        self.shape, self.levels = tuple(shape), levels
        c = self.shape[0]
        check(c, width, head_width, first_kernel, kernel)
        layer = partial(GatedLayer, channels=c, width=width, classes=classes, dropout=dropout)
        self.first = layer(inputs=c, kernel=first_kernel, strict=True)
        self.layers = nn.ModuleList(layer(inputs=width, kernel=kernel, strict=False) for _ in range(layers - 1))
        own, head, out = (channel_of(features, c) for features in (width, head_width, levels * c))
        self.hidden = MaskedConv(inputs=own, outputs=head, taps=1, strict=False)
        self.out = MaskedConv(inputs=head, outputs=out, taps=1, strict=False)

    def forward(self, x: Float[Tensor, "b c h w"], y: Labels | None = None) -> Float[Tensor, "b levels c h w"]:
        v, h = self.first(F.pad(x, (0, 0, 1, -1)), x, y)  # the vertical stack begins one row above
        for layer in self.layers:
            v, more = layer(v, h=h, y=y)
            h = h + more
        return self.out(self.hidden(h.relu()).relu()).unflatten(1, (self.levels, -1))

    def stepper(self, n: int, y: Labels | None = None) -> PixelCNNCache:
        layers = [self.first, *self.layers]
        return PixelCNNCache(layers, [self.hidden, self.out], n=n, shape=self.shape, y=y)


def check(c: int, width: int, head_width: int, *kernels: int) -> None:
    if min(width, head_width) < c:
        raise UserError(
            f"a PixelCNN got width {width} and head_width {head_width} for images of {c} channels; "
            f"it needs a feature for every channel, so give both at least {c}"
        )
    if any(k % 2 == 0 for k in kernels):
        raise UserError(f"a PixelCNN got kernels {kernels}; they are centred on the pixel, so give odd ones")
