"""From the unit interval to the real line (Dinh et al. 2017, https://arxiv.org/abs/1605.08803, section 4.1)."""

from math import log1p
from typing import Annotated

import torch
from annotated_types import Gt, Lt
from torch.nn.functional import softplus

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.errors import UserError
from genmodels.nn.flows.bijections import Bijection, Reals


class Logit(Bijection):
    """z = logit(p) with p = alpha + (1 - 2 alpha) x; x in [0, 1], z in [logit(alpha), logit(1 - alpha)].

    dz/dx = (1 - 2 alpha)/(p (1 - p)). The inverse takes every real z: values beyond these ends give x outside
    [0, 1], which dequantization rounds to the lowest or highest level. The likelihood does not count this part
    of a border level's probability, so it is never too high.
    """

    def __init__(
        self,
        *,
        alpha: Annotated[float, Gt(0), Lt(0.5)],  # distance from 0 and 1, in (0, 1/2); the paper has 0.05
    ):
        super().__init__()
        if not 0 < alpha < 0.5:
            raise UserError(f"the logit got alpha {alpha} and expected 0 < alpha < 0.5; the usual value is 0.05")
        self.alpha = alpha

    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        z = torch.logit(self.alpha + (1 - 2 * self.alpha) * x)
        ladj = log1p(-2 * self.alpha) + softplus(z) + softplus(-z)  # -log p - log(1 - p)
        return z, ladj.flatten(1).sum(1)

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        return (z.sigmoid() - self.alpha) / (1 - 2 * self.alpha)
