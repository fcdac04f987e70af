"""Decoder-only transformer as GPT-2 (Radford et al. 2019, https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf).

It has layer normalization before each sublayer, learned positions and GELU. Unlike in GPT-2, the first input is a
learned start vector, so that the first token has a probability too, and the output layer has its own weights. For
images it is like Image GPT (Chen et al. 2020, https://proceedings.mlr.press/v119/chen20s.html): every entry is a token.
Instead of learned positions it can have rotary ones (`rotary`), and attend to few of the tokens (`attention_mask`).
"""

from collections.abc import Sequence
from math import sqrt
from typing import Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor, nn

from genmodels.context import Context, Sizes, widths
from genmodels.errors import UserError
from genmodels.nn.causal.attention_mask import AttentionName, attention_mask
from genmodels.nn.causal.network import CausalNetwork, Codes, Inputs, InputsName, Stepper, entries_in_turn
from genmodels.nn.causal.rotary import Angles, rotary_angles, turned
from genmodels.parts.site_likelihoods import SiteLikelihood
from genmodels.ranges import PositiveInt, ProbabilityBelowOne, TwoOrMore

Sequences = Float[Tensor, "b t width"]
Mask = Bool[Tensor, "t t"] | None  # None: a token attends to itself and to all before it
PositionsName = Literal["learned", "rotary"]


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, *, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Sequences, mask: Mask = None, angles: Angles | None = None) -> Sequences:
        q, k, v = self.cut(x, angles)
        dropout = self.dropout if self.training else 0.0
        causal = mask is None
        return self.joined(F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout, is_causal=causal))

    def cut(self, x: Sequences, angles: Angles | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (b, heads, t, width/heads); the first two turned by `angles`."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return (q, k, v) if angles is None else (turned(q, angles), turned(k, angles), v)

    def joined(self, a: Float[Tensor, "b heads t d"]) -> Sequences:
        return self.out(a.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then a network of two layers; each is residual and has its own layer normalization before it."""

    def __init__(self, *, width: int, heads: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width=width, heads=heads, dropout=dropout)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Sequences, mask: Mask = None, angles: Angles | None = None) -> Sequences:
        x = x + self.dropout(self.attention(self.norm1(x), mask, angles))
        return x + self.dropout(self.mlp(self.norm2(x)))

    def mlp(self, x: Sequences) -> Sequences:
        return self.narrow(F.gelu(self.widen(x)))

    def residual_projections(self) -> list[Tensor]:
        return [self.attention.out.weight, self.narrow.weight]


class Transformer(CausalNetwork):
    """Every entry is a site: tokens in their order, pixels in raster order and by channel within a pixel."""

    mask: Mask
    angles: Angles | None

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (l,), (h, w) or (c, h, w)
        levels: TwoOrMore,  # values that an entry can take
        context: Sizes,  # widths of the condition: a vector, which is added to all inputs
        likelihood: SiteLikelihood,  # says how many parameters a site needs
        inputs: InputsName,  # embedded: symbols; scaled: pixels on [-1, 1]
        width: PositiveInt,  # features of a token
        layers: PositiveInt,  # Transformer blocks
        heads: PositiveInt,  # of attention; must divide the width
        positions: PositionsName,  # learned: a vector for each; rotary: queries and keys are turned
        attention: AttentionName,  # local: to the last `window` tokens; strided: and to every `window`-th before; full
        window: PositiveInt | None,  # tokens; None: attention is full
        dropout: ProbabilityBelowOne,  # on inputs, attention weights and outputs of sublayers, in training
    ):
        super().__init__()
        if width % heads:
            raise UserError(
                f"the transformer got width {width} for {heads} heads; give a multiple of heads for model.network.width"
            )
        vector = widths(context, ("vector",), "the transformer")["vector"]
        order = entries_in_turn(shape).clone(memory_format=torch.contiguous_format)  # DDP needs plain strides
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("mask", attention_mask(attention, window, len(order)), persistent=False)
        angles = rotary_angles(len(order), width // heads) if positions == "rotary" else None
        self.register_buffer("angles", angles, persistent=False)
        self.width, self.heads = width, heads
        self.inputs = Inputs(inputs=inputs, levels=levels, width=width)
        self.scaled = nn.Identity() if inputs == "embedded" else nn.Linear(1, width)
        self.start = nn.Parameter(torch.empty(width))
        self.positions = nn.Embedding(len(order), width) if positions == "learned" else None
        self.told = nn.Linear(vector, width, bias=False) if vector else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width=width, heads=heads, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, likelihood.n_params(1))
        self.initialize()

    def initialize(self) -> None:
        """As in GPT-2: normal with std 0.02, divided by √(2 layers) for residual projections; biases 0."""
        nn.init.normal_(self.start, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for block in self.each_block():
            for weight in block.residual_projections():
                weight.data.div_(sqrt(2 * len(self.blocks)))

    def each_block(self) -> list[Block]:
        return cast(list[Block], list(self.blocks))

    def forward(self, codes: Codes, context: Context) -> Float[Tensor, "b k sites"]:
        x = self.dropout(self.embed(codes.flatten(1)[:, self.order[:-1, 0]], context))
        for block in self.each_block():
            x = block(x, self.mask, self.angles)
        return self.out(self.norm(x)).transpose(1, 2)

    def embed(self, values: Integer[Tensor, "b before"], context: Context) -> Sequences:
        """Inputs for one more site than `values`: the start vector, then the embedded values, with positions added."""
        start = self.start.expand(len(values), 1, -1)
        x = torch.cat([start, self.scaled(self.inputs(values))], dim=1)
        return self.placed(x, 0, context)

    def placed(self, x: Sequences, first: int, context: Context) -> Sequences:
        """Inputs with their learned positions `first`, `first + 1`, ... and the condition added."""
        if self.positions is not None:
            x = x + self.positions.weight[first : first + x.shape[1]]
        if self.told is not None and context.vector is not None:
            x = x + self.told(context.vector.to(x.dtype))[:, None]
        return x

    def stepper(self, n: int, context: Context) -> "TransformerCache":
        return TransformerCache(self, n, context)


class TransformerCache(Stepper):
    """The transformer token by token, without dropout; it caches the keys and values of all earlier tokens."""

    def __init__(self, network: Transformer, n: int, context: Context):
        self.network, self.context, self.t = network, context, 0
        self.start = network.start.expand(n, 1, -1)
        shape = (2, n, network.heads, len(network.order), network.width // network.heads)
        self.past = [network.start.new_zeros(shape) for _ in network.blocks]

    def step(self, values: Int[Tensor, "n v"] | None) -> Float[Tensor, "n k"]:
        net = self.network
        x = self.start if values is None else net.scaled(net.inputs(values))
        x = net.placed(x, self.t, self.context)
        for block, past in zip(net.each_block(), self.past, strict=True):
            x = x + self.attend(block.attention, past, block.norm1(x))
            x = x + block.mlp(block.norm2(x))
        self.t += 1
        return net.out(net.norm(x))[:, 0]

    def attend(self, attention: Attention, past: Tensor, x: Float[Tensor, "n 1 width"]) -> Float[Tensor, "n 1 width"]:
        at, so_far = slice(self.t, self.t + 1), slice(self.t + 1)
        mask = None if self.network.mask is None else self.network.mask[at, so_far]
        angles = None if self.network.angles is None else self.network.angles[at]
        q, past[0, :, :, self.t :][:, :, :1], past[1, :, :, self.t :][:, :, :1] = attention.cut(x, angles)
        keys, values = past[:, :, :, so_far].to(q.dtype)
        return attention.joined(F.scaled_dot_product_attention(q, keys, values, mask))
