"""Dequantization: integers become real numbers by noise, so that a density gives a lower bound of their probability.

With noise u in [0, 1)^d of density q(u|x), and v = (x + u)/levels (Theis et al. 2016, https://arxiv.org/abs/1511.01844;
Ho et al. 2019, https://arxiv.org/abs/1902.00275, equation 12),

    log P(x) = log ∫ p(x + u) du >= E_q[log p(v) - d log(levels) - log q(u|x)].
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import log
from typing import Any

import torch
from jaxtyping import Integer
from torch import Tensor, nn
from torch.nn.functional import softplus

from genmodels.capabilities import Batch, PerSample, Protocol
from genmodels.context import Context
from genmodels.errors import UserError
from genmodels.fields import Field, smallest_dtype
from genmodels.nn.flows.bijections import Reals
from genmodels.nn.flows.partitions import checkerboard_mask
from genmodels.nn.flows.realnvp import coupling_stack
from genmodels.parts.densities import StandardNormal
from genmodels.parts.spaces import Space
from genmodels.ranges import PositiveInt, ProbabilityBelowOne, TwoOrMore
from genmodels.seeds import GLOBAL, Random
from genmodels.units import to_unit

Integers = Integer[Tensor, "b *shape"]


class DequantizationNoise(nn.Module, ABC):
    """q(u|x) on the unit cube."""

    name: str  # in the protocol of a likelihood

    @abstractmethod
    def draw(self, x: Integers, like: Tensor, rng: Random = GLOBAL) -> tuple[Reals, PerSample]:
        """u, in the precision of `like`, and log q(u|x) in nats."""


class Uniform(DequantizationNoise):
    """q(u|x) = 1 (Uria et al. 2013, https://arxiv.org/abs/1306.0186)."""

    name = "uniform"

    def __init__(self) -> None:
        super().__init__()

    def draw(self, x: Integers, like: Tensor, rng: Random = GLOBAL) -> tuple[Reals, PerSample]:
        u = rng.uniform(x.shape, x.device).to(like.dtype)
        return u, u.new_zeros(len(x))


class Variational(DequantizationNoise):
    """u = sigmoid(f(eps; x)) with eps ~ N(0, I), where f is a flow of couplings given x (Ho et al. 2019, section 3.1).

    log q(u|x) = log N(eps) - log|det df/deps| - log sigmoid'(f). It is trained together with the model.
    """

    name = "variational"

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        levels: TwoOrMore,  # values that an entry can take
        couplings: PositiveInt,  # with checkerboard masks
        width: PositiveInt,  # hidden features of each network
        blocks: PositiveInt,  # residual blocks of each network
        dropout: ProbabilityBelowOne,  # in the networks, in training
    ):
        super().__init__()
        if len(shape) != 3:
            raise UserError(
                f"variational dequantization got samples of shape {list(shape)}, expected images [c, h, w]; choose "
                "model/space/noise=uniform"
            )
        self.levels = levels
        self.base = StandardNormal(shape=shape)
        options: dict[str, Any] = {"width": width, "blocks": blocks, "dropout": dropout}
        self.f = coupling_stack(checkerboard_mask, shape, couplings, context={"maps": shape[0]}, **options)

    def draw(self, x: Integers, like: Tensor, rng: Random = GLOBAL) -> tuple[Reals, PerSample]:
        eps = self.base.sample(len(x), rng).to(like)
        v, ladj = self.f(eps, Context(maps=to_unit(x, self.levels).to(like)))
        slope = -softplus(v) - softplus(-v)  # log sigmoid'(v)
        return v.sigmoid(), self.base.log_prob(eps) - ladj - slope.flatten(1).sum(1)


class Dequantized(Space):
    """v = (x + u)/levels with noise u; the correction is -d log(levels) - log q(u|x). Decoding rounds down.

    `middle` takes u = 1/2, so that rounding errors cannot move a value into another bin.
    """

    stochastic = True
    range = (0.0, 1.0)
    origin: Tensor  # a zero; holds the precision

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],
        levels: TwoOrMore | None,  # values that an entry can take; None (continuous data) is an error
        noise: DequantizationNoise,
    ):
        super().__init__()
        if levels is None:
            raise UserError(
                "dequantization got continuous data (levels: null) and expected integers;"
                " choose data with levels, or model/space=standardized"
            )
        self.levels = levels
        self.noise = noise
        self.x = Field("image" if len(shape) == 3 else "points", tuple(shape), levels)
        self.code = self.x._replace(levels=None)
        self.register_buffer("origin", torch.zeros(()), persistent=False)

    def encode(self, x: Batch, rng: Random = GLOBAL) -> tuple[Reals, PerSample]:
        assert isinstance(x, Tensor)
        u, log_q = self.noise.draw(x, self.origin, rng)
        return (x + u) / self.levels, -self.code.dims * log(self.levels) - log_q

    def decode(self, u: Reals, rng: Random = GLOBAL) -> Integers:
        return (u * self.levels).floor().clamp(0, self.levels - 1).to(smallest_dtype(self.levels))

    def middle(self, x: Batch) -> Reals:
        assert isinstance(x, Tensor)
        return (x.to(self.origin.dtype) + 0.5) / self.levels

    def protocol(self) -> Protocol:
        return {"dequantization": self.noise.name}
