"""A fully connected residual network for points at a noise level, the counterpart of the U-Net for images."""

from collections.abc import Sequence

from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import silu

from genmodels.context import Context, Sizes, widths
from genmodels.errors import UserError
from genmodels.fields import coordinates
from genmodels.nn.layers.time_embedding import TimeEmbedding
from genmodels.nn.layers.unet import ALMOST_ZERO, initialised
from genmodels.ranges import PositiveInt

Points = Float[Tensor, "b d"]


class PointBlock(nn.Module):
    """h + W_2 silu(W_1 silu(h) + W_3 silu(embedding))."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.emb = initialised(nn.Linear(width, width)), initialised(nn.Linear(width, width))
        self.second = initialised(nn.Linear(width, width), gain=ALMOST_ZERO)

    def forward(self, h: Float[Tensor, "b w"], emb: Float[Tensor, "b w"]) -> Float[Tensor, "b w"]:
        return h + self.second(silu(self.first(silu(h)) + self.emb(silu(emb))))


class PointDenoiser(nn.Module):
    """net(x, t, context): points and times to points. A context's vector is added to the embedding of the time."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (d,) of a point
        width: PositiveInt,  # features of the hidden layers, an even number >= 4
        blocks: PositiveInt,  # residual blocks of two layers
        context: Sizes,  # of the condition: a vector, or {}: none
    ):
        super().__init__()
        check_sizes(shape, width)
        self.embed = TimeEmbedding(width, width, widths(context, ("vector",), "a network of points")["vector"])
        self.inlet = initialised(nn.Linear(shape[0], width))
        self.blocks = nn.ModuleList([PointBlock(width) for _ in range(blocks)])
        self.outlet = initialised(nn.Linear(width, shape[0]), gain=ALMOST_ZERO)

    def forward(self, x: Points, t: Shaped[Tensor, " b"], context: Context) -> Points:
        h, emb = self.inlet(x), self.embed(t, context)
        for block in self.blocks:
            h = block(h, emb)
        return self.outlet(silu(h))


def check_sizes(shape: Sequence[int], width: int) -> None:
    """UserError for sizes that the network cannot have."""
    coordinates(shape, "a network of points")
    if width < 4 or width % 2:
        raise UserError(
            f"a network of points got width={width}, expected an even number >= 4; change model.network.width"
        )
