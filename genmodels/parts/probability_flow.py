"""The likelihood of a diffusion model or a continuous flow by its ODE.

With y and t as in `genmodels.samplers.probability_flow`, dy/dt = v(y, t), and log p(y) changes by -div v along the way
(Chen et al. 2018, https://arxiv.org/abs/1806.07366, equation 8; Song et al. 2021, https://arxiv.org/abs/2011.13456,
appendix D.2). Hence

    log p(x_0) = log N(y(t_1); 0, std²) + ∫ div v dt + d log(1 - t_0),      y(t_0) = (1 - t_0) x_0,

from the least noise t_0 to the most, t_1. The last term is the ladj of x_0 -> y.
"""

from collections.abc import Iterable
from functools import reduce
from math import log
from typing import Literal

import torch
from torch.distributions import Normal

from genmodels.capabilities import Bound, Denoiser, PerSample, Protocol
from genmodels.errors import UserError
from genmodels.parts.processes import Process
from genmodels.parts.scorers import Scorer
from genmodels.parts.spaces import Space
from genmodels.ranges import PositiveFloat
from genmodels.samplers.dormand_prince import Rows, Times, require_tolerances, solve
from genmodels.samplers.probability_flow import LEAST, Codes, time, velocity
from genmodels.seeds import GLOBAL

Trace = Literal["exact", "rademacher", "normal"]


class ProbabilityFlow(Scorer):
    """log p(x_0) from the solution of the ODE together with the integral of its divergence.

    The solver is that of Dormand & Prince, with steps for each sample, in float64 around a network in float32. The
    divergence is exact, or Hutchinson's estimate e·(∂v/∂y)e with one draw e for each sample and solution (Grathwohl et
    al. 2019, https://arxiv.org/abs/1810.01367, equation 8).
    """

    bound: Bound = "pf_ode"

    def __init__(
        self,
        *,
        process: Process,
        rtol: PositiveFloat,  # error of a step as a part of a value
        atol: PositiveFloat,  # and in addition to it, on the scale of the noise and in nats
        trace: Trace,  # exact: a backward pass per dimension; rademacher, normal: the noise of Hutchinson's estimate
    ):
        super().__init__()
        require_tolerances(rtol, atol, "model.scorer")
        least, most = process.level(torch.tensor(process.span[0]).double()), process.grid(1)[0]
        self.times = (max(time(least), LEAST), time(most))
        self.std = process.start / (most.alpha + most.sigma).item()
        self.rtol, self.atol, self.trace = rtol, atol, trace

    def check(self, space: Space) -> None:
        if space.x.levels is not None and not space.stochastic:
            raise UserError(
                f"model/scorer=ode gives densities of real numbers, and the model's space ({type(space).__name__}) has "
                "integers without noise; choose model/space=dequantized"
            )

    @torch.enable_grad()
    def log_prob(self, x0: Codes, denoiser: Denoiser, space: Space) -> PerSample:
        b, d, probes = len(x0), x0[0].numel(), self.probes(x0)

        def slopes(t: Times, state: Rows) -> Rows:
            y = state[:, :-1].view(x0.shape).requires_grad_()
            v = velocity(denoiser, t, y)
            return torch.cat([v.flatten(1), divergence(v, y, probes)[:, None]], dim=1).detach()

        y = (1 - self.times[0]) * x0.double().flatten(1)
        ladj = y.new_full((b, 1), d * log(1 - self.times[0]))
        with torch.autocast(x0.device.type, enabled=False):
            (end,) = solve(slopes, torch.cat([y, ladj], dim=1), self.times, rtol=self.rtol, atol=self.atol)
        return (Normal(0.0, self.std).log_prob(end[:, :-1]).sum(1) + end[:, -1]).to(x0)

    def probes(self, x0: Codes) -> Iterable[Codes]:
        """The vectors e whose e·(∂v/∂y)e add up to the divergence: all unit vectors, or one draw for each sample."""
        if self.trace == "exact":
            return torch.eye(x0[0].numel(), device=x0.device).double().view(-1, 1, *x0.shape[1:]).expand(-1, *x0.shape)
        e = GLOBAL.normal(x0.shape, x0.device).double()
        return [e.sign() if self.trace == "rademacher" else e]

    def protocol(self) -> Protocol:
        return {
            "bound_solver": "dopri5",
            "bound_rtol": self.rtol,
            "bound_atol": self.atol,
            "bound_trace": self.trace if self.trace == "exact" else f"hutchinson_{self.trace}",
        }


def divergence(v: Codes, y: Codes, probes: Iterable[Codes]) -> PerSample:
    """The sum of e·(∂v/∂y)e over the probes e; entries of v depend on their own sample alone."""
    products = (e * torch.autograd.grad(v, y, e, retain_graph=True)[0] for e in probes)
    return reduce(torch.add, products).flatten(1).sum(1)
