"""WaveNet (van den Oord et al. 2016, https://arxiv.org/abs/1609.03499): dilated causal convolutions over a sequence.

The dropout between layers is not in the paper.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context, Sizes, widths
from genmodels.nn.causal.network import CausalNetwork, Codes, Inputs, InputsName, entries_in_turn
from genmodels.nn.causal.wavenet_cache import WaveNetCache
from genmodels.nn.causal.wavenet_layers import DilatedConv, DilatedLayer
from genmodels.parts.site_likelihoods import SiteLikelihood
from genmodels.ranges import PositiveInt, ProbabilityBelowOne, TwoOrMore


class WaveNet(CausalNetwork):
    """Every entry is a site: tokens in their order, pixels in raster order and by channel within a pixel."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (l,), (h, w) or (c, h, w)
        levels: TwoOrMore,  # values that an entry can take
        context: Sizes,  # widths of the condition: a vector
        likelihood: SiteLikelihood,  # says how many parameters a site needs
        inputs: InputsName,  # embedded: symbols, such as mu-law tokens; scaled: numbers on [-1, 1]
        width: PositiveInt,  # features between layers
        layers: PositiveInt,  # dilated layers
        cycle: PositiveInt,  # layer i has the dilation 2^(i mod cycle)
        kernel: TwoOrMore,  # steps of the sequence that a convolution reads
        head_width: PositiveInt,  # features of the skip connections and between the two last convolutions
        dropout: ProbabilityBelowOne,  # probability that an input of a layer is dropped in training
    ):
        super().__init__()
        vector = widths(context, ("vector",), "WaveNet")["vector"]
        self.register_buffer("order", entries_in_turn(shape), persistent=False)
        self.inputs = Inputs(inputs=inputs, levels=levels, width=width)
        self.first = DilatedConv(inputs=self.inputs.features, outputs=width, kernel=kernel, dilation=1)
        self.layers = nn.ModuleList(
            DilatedLayer(
                width=width,
                kernel=kernel,
                dilation=2 ** (i % cycle),
                last=i == layers - 1,
                vector=vector,
                dropout=dropout,
            )
            for i in range(layers)
        )
        self.skip = nn.Linear(layers * width, head_width)  # the sum of the layers' skip connections
        self.hidden, self.out = nn.Linear(head_width, head_width), nn.Linear(head_width, likelihood.n_params(1))

    def each_layer(self) -> list[DilatedLayer]:
        return cast(list[DilatedLayer], list(self.layers))

    def forward(self, codes: Codes, context: Context) -> Float[Tensor, "b k sites"]:
        values = codes.flatten(1)[:, self.order[:, 0]]
        x, zs = self.first(F.pad(self.inputs(values), (0, 0, 1, -1))), []  # a site sees the values before it
        for layer in self.each_layer():
            x, z = layer(x, context)
            zs.append(z)
        return self.head(zs).mT

    def head(self, zs: Sequence[Float[Tensor, "b t p"]]) -> Float[Tensor, "b t k"]:
        """Parameters from the gated features of all layers."""
        return self.out(self.hidden(self.skip(torch.cat(list(zs), dim=2)).relu()).relu())

    def stepper(self, n: int, context: Context) -> WaveNetCache:
        return WaveNetCache(self.inputs, self.first, self.each_layer(), self.head, n=n, context=context)
