"""PixelCNN++ (Salimans et al. 2017, https://arxiv.org/abs/1701.05517): a site is a pixel with its channels.

Unlike the paper's network, convolutions have no weight normalization and none of its data-dependent initialization.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context, Sizes, widths
from genmodels.errors import UserError
from genmodels.nn.causal.network import CausalNetwork, Codes, InputsName, as_image, raster_order
from genmodels.nn.causal.pixelcnnpp_cache import PixelCNNPPCache
from genmodels.nn.causal.pixelcnnpp_layers import PixelInputs, Stage, Stem
from genmodels.parts.site_likelihoods import SiteLikelihood
from genmodels.ranges import PositiveInt, ProbabilityBelowOne, TwoOrMore


class PixelCNNPP(CausalNetwork):
    """Every pixel is a site, in raster order."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w), or (h, w)
        levels: TwoOrMore,  # values that an entry can take
        context: Sizes,  # widths of the condition: a vector
        likelihood: SiteLikelihood,  # says how many parameters a site needs
        inputs: InputsName,  # scaled: pixels on [-1, 1]; embedded: symbols
        embedding_width: PositiveInt,  # width of a symbol's vector, for embedded inputs
        width: PositiveInt,  # features of each stream
        scales: PositiveInt,  # resolutions, each half of the previous one
        blocks: PositiveInt,  # gated resnets of a stream per resolution on the way down; up: as many or one more
        dropout: ProbabilityBelowOne,  # probability that a feature within a gated resnet is dropped in training
    ):
        super().__init__()
        self.image = c, h, w = as_image(shape, "PixelCNN++")
        check_halvings(h, w, scales)
        vector = widths(context, ("vector",), "PixelCNN++")["vector"]
        self.register_buffer("order", raster_order(c, h * w), persistent=False)
        self.inputs = PixelInputs(channels=c, inputs=inputs, levels=levels, width=embedding_width)
        self.stem = Stem(inputs=self.inputs.features, width=width, vertical=True)
        self.stage = Stage(scales=scales, blocks=blocks, width=width, vector=vector, dropout=dropout)
        self.head = nn.Conv2d(width, likelihood.n_params(c), 1)

    def forward(self, codes: Codes, context: Context) -> Float[Tensor, "b k sites"]:
        x = F.pad(self.inputs(codes.reshape(-1, *self.image)), (1, 1, 2, 0))
        _, h = self.stage(self.stem.vertical(x), self.stem.horizontal(x), context)
        return self.head(F.elu(h)).flatten(2)

    def stepper(self, n: int, context: Context) -> PixelCNNPPCache:
        _, h, w = self.image
        return PixelCNNPPCache(self.stem, self.stage, self.head, self.inputs, n=n, rows=h, columns=w, context=context)


def check_halvings(h: int, w: int, scales: int) -> None:
    if scales < 1 or h % 2 ** (scales - 1) or w % 2 ** (scales - 1):
        raise UserError(
            f"PixelCNN++ got scales={scales} for images of {h}x{w}, which are halved {scales - 1} times; set "
            "model.network.scales so that both sides divide by 2 each time"
        )
