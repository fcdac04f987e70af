"""Gated PixelCNN (van den Oord et al. 2016, https://arxiv.org/abs/1606.05328).

There are two stacks of gated convolutions. The vertical stack sees all rows above. The horizontal
stack sees the pixels to the left and, through the vertical stack, all rows above, so that there is
no blind spot. The dropout between layers is not in the paper.
"""

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context, Sizes, widths
from genmodels.errors import UserError
from genmodels.nn.causal.gated_layer import GatedLayer
from genmodels.nn.causal.masked_conv import MaskedConv, channel_of
from genmodels.nn.causal.network import CausalNetwork, Codes, Inputs, InputsName, as_image, entries_in_turn
from genmodels.nn.causal.pixelcnn_cache import PixelCNNCache
from genmodels.parts.site_likelihoods import SiteLikelihood
from genmodels.ranges import PositiveInt, ProbabilityBelowOne, TwoOrMore


class GatedPixelCNN(CausalNetwork):
    """Every entry is a site, in raster order and within a pixel by channel.

    The horizontal stack is residual from the second layer on. Each of its features belongs to one
    of the c channels. At its own pixel it sees only earlier channels (first layer), or features of
    channels up to its own (later layers), so that blue depends on green and red, and green on red.
    """

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w), or (h, w)
        levels: TwoOrMore,  # values that an entry can take
        context: Sizes,  # widths of the condition: a vector
        likelihood: SiteLikelihood,  # says how many parameters a site needs
        inputs: InputsName,  # scaled: pixels on [-1, 1]; embedded: symbols
        embedding_width: PositiveInt,  # width of a symbol's vector, for embedded inputs
        width: PositiveInt,  # features of each stack, at least one for every channel
        layers: PositiveInt,  # gated layers
        first_kernel: PositiveInt,  # odd: the first layer sees k//2 + 1 rows and k//2 columns back
        kernel: PositiveInt,  # odd: the same for the other layers
        head_width: PositiveInt,  # features between the two last 1 x 1 convolutions
        dropout: ProbabilityBelowOne,  # probability that a feature between layers is dropped in training
    ):
        super().__init__()
        self.image = c, _, _ = as_image(shape, "a PixelCNN")
        check_widths_and_kernels(c, width, head_width, first_kernel, kernel)
        vector = widths(context, ("vector",), "a PixelCNN")["vector"]
        self.register_buffer("order", entries_in_turn(shape), persistent=False)
        self.inputs = Inputs(inputs=inputs, levels=levels, width=embedding_width)
        layer = partial(GatedLayer, channels=c, width=width, vector=vector, dropout=dropout)
        self.first = layer(inputs=c * self.inputs.features, kernel=first_kernel, strict=True)
        self.layers = nn.ModuleList(layer(inputs=width, kernel=kernel, strict=False) for _ in range(layers - 1))
        outputs = likelihood.n_params(1)
        own, head, out = (channel_of(features, c) for features in (width, head_width, outputs * c))
        self.hidden = MaskedConv(inputs=own, outputs=head, taps=1, strict=False)
        self.out = MaskedConv(inputs=head, outputs=out, taps=1, strict=False)

    def forward(self, codes: Codes, context: Context) -> Float[Tensor, "b k sites"]:
        x = self.inputs(codes.reshape(-1, *self.image))  # (b, c, h, w, e)
        x = x.permute(0, 4, 1, 2, 3).flatten(1, 2)  # interleaved: the features of channel k are k, k + c, ...
        v, h = self.first(F.pad(x, (0, 0, 1, -1)), x, context)  # the vertical stack is shifted down by one row
        for layer in self.layers:
            v, more = layer(v, h=h, context=context)
            h = h + more
        params = self.out(self.hidden(h.relu()).relu()).unflatten(1, (-1, self.image[0]))  # (b, k, c, h, w)
        return params.permute(0, 1, 3, 4, 2).flatten(2)

    def stepper(self, n: int, context: Context) -> PixelCNNCache:
        c, _, w = self.image
        layers, head = [self.first, *self.layers], [self.hidden, self.out]
        return PixelCNNCache(layers, head, self.inputs, n=n, channels=c, columns=w, context=context)


def check_widths_and_kernels(c: int, width: int, head_width: int, *kernels: int) -> None:
    if min(width, head_width) < c:
        raise UserError(
            f"a PixelCNN got width {width} and head_width {head_width} for images of {c} channels; "
            f"it needs a feature for every channel, so give both at least {c}"
        )
    if any(k % 2 == 0 for k in kernels):
        raise UserError(f"a PixelCNN got kernels {kernels}; they are centred on the pixel, so give odd ones")
