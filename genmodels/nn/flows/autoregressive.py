"""Autoregressive flows: each number is changed by a map whose parameters depend on the numbers before it.

MAF (Papamakarios, Pavlakou & Murray 2017, https://arxiv.org/abs/1705.07057) computes z from x in one pass, and x from z
in one pass for each number; the inverse of such a flow is IAF (Kingma et al. 2016, https://arxiv.org/abs/1606.04934).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.errors import UserError
from genmodels.nn.flows.batch_norm import BatchNorm
from genmodels.nn.flows.bijections import Bijection
from genmodels.nn.flows.elementwise import Elementwise, Parameters

Points = Float[Tensor, "b d"]


class MaskedAutoregressive(Bijection):
    """z_i = g(x_i; theta_i) with theta_i a function of the entries before i, for any g; ladj is the sum of log g'."""

    def __init__(
        self,
        *,
        order: Sequence[int],  # the entries, first to last
        net: nn.Module,  # (b, d), context -> (b, n_params · d); the parameters of an entry see those before it alone
        transform: Elementwise,  # g, without weights of its own
    ):
        super().__init__()
        self.order, self.transform, self.net = tuple(order), transform, net

    def forward(self, x: Points, context: Context = NO_CONTEXT) -> tuple[Points, PerSample]:
        z, log_slope = self.transform(x, self.theta(x, context))
        return z, log_slope.sum(1)

    def inverse(self, z: Points, context: Context = NO_CONTEXT) -> Points:
        x = torch.zeros_like(z)
        for i in self.order:
            entry = slice(i, i + 1)
            column = self.transform.inverse(z[:, entry], self.theta(x, context)[:, :, entry])
            x = torch.cat([x[:, :i], column, x[:, i + 1 :]], dim=1)
        return x

    def theta(self, x: Points, context: Context) -> Parameters:
        return self.net(x, context).to(x.dtype).unflatten(1, (self.transform.n_params, -1))


class Inverse(Bijection):
    """f⁻¹ of a bijection f, with the ladj of f at f⁻¹(x), negated. f has no batch norm: in training that is no function
    of a sample alone."""

    def __init__(
        self,
        *,
        inner: Bijection,  # f
    ):
        super().__init__()
        if any(isinstance(part, BatchNorm) for part in inner.modules()):
            raise UserError(
                "the inverse of a flow with batch norm cannot be trained; set standing_batches=null of the inner flow, "
                "model.bijections.iaf.inner.standing_batches=null in model=iaf"
            )
        self.inner = inner

    def forward(self, x: Points, context: Context = NO_CONTEXT) -> tuple[Points, PerSample]:
        z = self.inner.inverse(x, context)
        return z, -self.inner(z, context)[1]

    def inverse(self, z: Points, context: Context = NO_CONTEXT) -> Points:
        return self.inner(z, context)[0]
