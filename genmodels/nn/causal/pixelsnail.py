"""PixelSNAIL (Chen et al. 2018, https://arxiv.org/abs/1712.09763): a site is a pixel with its channels.

Causal convolutions see near pixels, and attention all earlier ones. Unlike in the authors' network, there is no weight
normalization, none of its data-dependent initialization, and no dropout around the attention.
"""

from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context, Sizes, widths
from genmodels.nn.causal.network import CausalNetwork, Codes, InputsName, as_image, raster_order
from genmodels.nn.causal.pixelcnnpp_layers import PixelInputs, Stem
from genmodels.nn.causal.pixelsnail_cache import PixelSNAILCache
from genmodels.nn.causal.pixelsnail_layers import AttentiveLayer, places
from genmodels.parts.site_likelihoods import SiteLikelihood
from genmodels.ranges import PositiveInt, ProbabilityBelowOne, TwoOrMore


class PixelSNAIL(CausalNetwork):
    """Every pixel is a site, in raster order."""

    places: Float[Tensor, "1 2 h w"]

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w), or (h, w)
        levels: TwoOrMore,  # values that an entry can take
        context: Sizes,  # widths of the condition: a vector
        likelihood: SiteLikelihood,  # says how many parameters a site needs
        inputs: InputsName,  # scaled: pixels on [-1, 1]; embedded: symbols
        embedding_width: PositiveInt,  # width of a symbol's vector, for embedded inputs
        width: TwoOrMore,  # features of a pixel; values of the attention have half of it
        layers: PositiveInt,  # each ends with attention
        blocks: PositiveInt,  # gated resnets of a layer, before its attention
        key_width: PositiveInt,  # features of a query and of a key
        dropout: ProbabilityBelowOne,  # probability that a feature within these resnets is dropped in training
    ):
        super().__init__()
        self.image = c, h, w = as_image(shape, "PixelSNAIL")
        vector = widths(context, ("vector",), "PixelSNAIL")["vector"]
        self.register_buffer("order", raster_order(c, h * w), persistent=False)
        self.register_buffer("places", places(h, w), persistent=False)
        self.inputs = PixelInputs(channels=c, inputs=inputs, levels=levels, width=embedding_width)
        self.stem = Stem(inputs=self.inputs.features, width=width, vertical=False)
        self.layers = nn.ModuleList(
            AttentiveLayer(
                inputs=self.inputs.features,
                width=width,
                blocks=blocks,
                key_width=key_width,
                vector=vector,
                dropout=dropout,
            )
            for _ in range(layers)
        )
        self.head = nn.Conv2d(width, likelihood.n_params(c), 1)

    def forward(self, codes: Codes, context: Context) -> Float[Tensor, "b k sites"]:
        x = self.inputs(codes.reshape(-1, *self.image))
        h, at = self.stem.horizontal(F.pad(x, (1, 1, 2, 0))), self.places.expand(len(x), -1, -1, -1)
        for layer in self.layers:
            h = layer(h, x, at, context)
        return self.head(F.elu(h)).flatten(2)

    def stepper(self, n: int, context: Context) -> PixelSNAILCache:
        layers = cast(list[AttentiveLayer], list(self.layers))
        return PixelSNAILCache(self.inputs, self.stem, layers, self.head, self.places, n=n, context=context)
