"""From integers to the real line: uniform dequantization, then the logit.

Dequantization (Uria et al. 2013, https://arxiv.org/abs/1306.0186; Theis et al. 2016,
https://arxiv.org/abs/1511.01844): with u uniform on [0, 1)^d, log P(x) >= E_u log p(x + u).
Logit: Dinh et al. 2017, https://arxiv.org/abs/1605.08803, section 4.1.
"""

from math import log, log1p, prod

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import softplus

from genmodels.capabilities import Labels, PerSample
from genmodels.errors import UserError
from genmodels.nn.bijections import Bijection

Values = UInt8[Tensor, "b *shape"]
Reals = Float[Tensor, "b *shape"]


class UniformDequantization(Bijection):
    """v = (x + u)/levels with u uniform on [0, 1); ladj = -d log(levels). Undone by the floor.

    `encode` takes u = 1/2, the middle of the bin, so that no rounding carries a value into the next bin.
    """

    stochastic = True
    dequantization = "uniform"
    origin: Tensor  # a zero; knows the precision

    def __init__(
        self,
        *,
        levels: int | None,  # values an entry can take; None (continuous data) is an error
    ):
        super().__init__()
        if levels is None:
            raise UserError(
                "dequantization got continuous data (levels: null) and expected integers;"
                " choose data with levels or a model without UniformDequantization"
            )
        self.levels = levels
        self.register_buffer("origin", torch.zeros(()), persistent=False)

    def forward(self, x: Values, y: Labels | None = None) -> tuple[Reals, PerSample]:
        u = torch.rand(x.shape, device=x.device, dtype=self.origin.dtype)
        ladj = u.new_full(x.shape[:1], -prod(x.shape[1:]) * log(self.levels))
        return (x + u) / self.levels, ladj

    def inverse(self, z: Reals, y: Labels | None = None) -> Values:
        return (z * self.levels).floor().clamp(0, self.levels - 1).to(torch.uint8)

    def encode(self, x: Values, y: Labels | None = None) -> Reals:
        return (x.to(self.origin.dtype) + 0.5) / self.levels


class Logit(Bijection):
    """z = logit(p) with p = alpha + (1 - 2 alpha) x; x in [0, 1], z in [logit(alpha), logit(1 - alpha)].

    dz/dx = (1 - 2 alpha)/(p (1 - p)). The inverse holds for every real z: what lies beyond those ends
    comes back outside [0, 1], and dequantization takes it to the border value. The likelihood does not count
    that part of a border value's probability, so it is never too high for it.
    """

    def __init__(
        self,
        *,
        alpha: float,  # distance from 0 and 1, in (0, 1/2); the paper has 0.05
    ):
        super().__init__()
        if not 0 < alpha < 0.5:
            raise UserError(f"the logit got alpha {alpha} and expected 0 < alpha < 0.5; the usual value is 0.05")
        self.alpha = alpha

    def forward(self, x: Reals, y: Labels | None = None) -> tuple[Reals, PerSample]:
        z = torch.logit(self.alpha + (1 - 2 * self.alpha) * x)
        ladj = log1p(-2 * self.alpha) + softplus(z) + softplus(-z)  # -log p - log(1 - p)
        return z, ladj.flatten(1).sum(1)

    def inverse(self, z: Reals, y: Labels | None = None) -> Reals:
        return (z.sigmoid() - self.alpha) / (1 - 2 * self.alpha)
