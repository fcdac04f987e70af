"""TarFlow: autoregressive flows over the patches of an image, by causal Transformers (Zhai et al. 2024,
https://arxiv.org/abs/2412.06329, section 2.2)."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context, Sizes, widths
from genmodels.errors import UserError
from genmodels.fields import image_shape
from genmodels.nn.causal.transformer import Block, Sequences
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.layers.zeroed import zeroed
from genmodels.nn.shapes import Maps
from genmodels.ranges import PositiveInt, ProbabilityBelowOne

Patches = Float[Tensor, "b t d"]
Affine = tuple[Patches, Patches]  # mu and alpha


class TarFlow(Bijection):
    """A chain of `PatchBlock`s on the sequence of patches, which every second block sees from last to first."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        patch: PositiveInt,  # side of a patch; divides h and w
        blocks: PositiveInt,  # autoregressive flows; T in the paper
        layers: PositiveInt,  # of each block's Transformer; K in the paper
        width: PositiveInt,  # features of a patch
        heads: PositiveInt,  # of attention; must divide the width
        dropout: ProbabilityBelowOne,  # in the Transformers, in training; the paper has none
        context: Sizes,  # of the condition: a vector, which is added to all inputs; {}: none
    ):
        super().__init__()
        c, rows, columns = check_tarflow_shape(shape, patch)
        if width % heads:
            raise UserError(f"TarFlow got width {width} for {heads} heads, expected a multiple of heads; change width")
        self.patch, self.rows = patch, rows
        self.inner = Chain(
            PatchBlock(
                length=rows * columns,
                d=c * patch * patch,
                backwards=i % 2 == 1,
                layers=layers,
                width=width,
                heads=heads,
                dropout=dropout,
                context=context,
            )
            for i in range(blocks)
        )

    def forward(self, x: Maps, context: Context = NO_CONTEXT) -> tuple[Maps, PerSample]:
        z, ladj = self.inner(self.cut(x), context)
        return self.joined(z), ladj

    def inverse(self, z: Maps, context: Context = NO_CONTEXT) -> Maps:
        return self.joined(self.inner.inverse(self.cut(z), context))

    def cut(self, x: Maps) -> Patches:
        """The patches in raster order, each as a vector."""
        return F.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)

    def joined(self, patches: Patches) -> Maps:
        """The image of these patches."""
        maps = patches.transpose(1, 2).unflatten(2, (self.rows, -1))
        return F.pixel_shuffle(maps, self.patch)


class PatchBlock(Bijection):
    """z_t = (x_t - mu_t) ⊙ exp(-alpha_t), where mu_t and alpha_t are the output of a causal Transformer that has seen
    x_1, ..., x_{t-1} (equation 5), and z_1 = x_1.

    Unlike in the authors' code there is a layer normalization before the last layer, so that alpha, which has no bound
    of its own, does not grow with x. The last layer is 0 at first: the block starts as the identity. All of it computes
    in the precision of its input, also under autocast, as the authors do where they measure likelihoods.
    """

    def __init__(
        self,
        *,
        length: int,  # patches, at least 2
        d: int,  # numbers in a patch
        backwards: bool,  # whether the last patch comes first
        layers: int,
        width: int,
        heads: int,
        dropout: float,
        context: Sizes,
    ):
        super().__init__()
        vector = widths(context, ("vector",), "TarFlow")["vector"]
        self.backwards = backwards
        self.first = nn.Linear(d, width)
        self.positions = nn.Parameter(0.01 * torch.randn(length, width))  # of the places in the image
        self.told = nn.Linear(vector, width, bias=False) if vector else None
        self.layers = nn.ModuleList(Block(width=width, heads=heads, dropout=dropout) for _ in range(layers))
        self.last = nn.Sequential(nn.LayerNorm(width), zeroed(nn.Linear(width, 2 * d)))

    def forward(self, x: Patches, context: Context = NO_CONTEXT) -> tuple[Patches, PerSample]:
        x = self.ordered(x)
        with torch.autocast(x.device.type, enabled=False):
            mu, alpha = self.shifted(x, context)
        z = (x - mu) * (-alpha).exp()
        return self.ordered(z), -alpha.flatten(1).sum(1)

    def inverse(self, z: Patches, context: Context = NO_CONTEXT) -> Patches:
        z, cache = self.ordered(z), PatchCache(self, context)
        x = [z[:, :1]]
        with torch.autocast(z.device.type, enabled=False):
            for z_t in z[:, 1:].split(1, dim=1):
                mu, alpha = cache.step(x[-1])
                x.append(z_t * alpha.exp() + mu)
        return self.ordered(torch.cat(x, dim=1))

    def ordered(self, x: Tensor) -> Tensor:
        """The patches, or their positions, (..., t, d), in the order of this block, or back."""
        return x.flip(-2) if self.backwards else x

    def shifted(self, x: Patches, context: Context) -> Affine:
        """mu and alpha of every patch, each from those before it; 0 for the first."""
        h = self.embedded(x[:, :-1], 0, context)
        for layer in self.layers:
            h = layer(h)
        mu, alpha = F.pad(self.last(h), (0, 0, 1, 0)).chunk(2, dim=2)
        return mu, alpha

    def embedded(self, x: Patches, start: int, context: Context) -> Sequences:
        """Inputs of the Transformer for these patches, which are number `start` and those after it."""
        h = self.first(x) + self.ordered(self.positions)[start : start + x.shape[1]]
        return h if self.told is None else h + self.told(cast(Tensor, context.vector).to(h.dtype))[:, None]


class PatchCache:
    """The Transformer of a block patch by patch, without dropout: it keeps the keys and values of earlier patches."""

    def __init__(self, block: PatchBlock, context: Context):
        self.block, self.context, self.t = block, context, 0
        self.past: list[tuple[Tensor, Tensor] | None] = [None] * len(block.layers)

    def step(self, x: Patches) -> Affine:
        """mu and alpha of the patch after `x`, (b, 1, d)."""
        h = self.block.embedded(x, self.t, self.context)
        for i, layer in enumerate(cast(list[Block], self.block.layers)):
            h = h + self.attended(i, layer, layer.norm1(h))
            h = h + layer.mlp(layer.norm2(h))
        self.t += 1
        mu, alpha = self.block.last(h).chunk(2, dim=2)
        return mu, alpha

    def attended(self, i: int, layer: Block, h: Sequences) -> Sequences:
        q, *new = layer.attention.cut(h)
        old = self.past[i]
        k, v = new if old is None else (torch.cat(pair, dim=2) for pair in zip(old, new, strict=True))
        self.past[i] = (k, v)
        return layer.attention.joined(F.scaled_dot_product_attention(q, k, v))


def check_tarflow_shape(shape: Sequence[int], patch: int) -> tuple[int, int, int]:
    """Channels, and rows and columns of patches; UserError where there are not at least two whole ones."""
    c, h, w = image_shape(shape, "TarFlow")
    if h % patch or w % patch or h * w == patch * patch:
        raise UserError(
            f"TarFlow got images of {h}x{w} and patches of {patch}x{patch}, expected at least two patches that fill the"
            " image; change model.bijections.tarflow.patch or the data"
        )
    return c, h // patch, w // patch
