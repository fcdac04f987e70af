"""What holds of every bijection, and what tests of flows build them with."""

import torch
from torch import Tensor, nn

from genmodels.context import NO_CONTEXT, Context, Unconditional
from genmodels.models.flow import Flow
from genmodels.nn.flows.bijections import Bijection
from genmodels.parts.densities import Density
from genmodels.parts.spaces import Space, Standardized
from genmodels.samplers.direct import Direct

DIRECT = Direct(temperature=1.0, truncation=None)


def flow_of(space: Space, base: Density, **bijections: Bijection) -> Flow:
    """An unconditional flow in evaluation mode."""
    unconditional = Unconditional(sizes={})
    return Flow(space=space, bijections=bijections, base=base, conditioner=unconditional, sampler=DIRECT).eval()


def as_they_are(*shape: int) -> Standardized:
    """The space of real numbers as they are."""
    return Standardized(shape=shape, levels=None, mean=0.0, std=1.0)


def randomised(module: nn.Module, std: float = 0.2) -> nn.Module:
    """Every parameter moved away from where it started, so that nothing is the identity by accident."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(std * torch.randn_like(p))
    return module


def check_ladj(f: Bijection, x: Tensor, context: Context = NO_CONTEXT) -> None:
    """The ladj of one sample (1, ...) in float64 is that of the Jacobian matrix."""
    d = x.numel()
    jacobian = torch.autograd.functional.jacobian(lambda x: f(x, context)[0], x).view(d, d)
    ladj = f(x, context)[1]
    assert ladj.shape == (1,)
    torch.testing.assert_close(ladj.double(), torch.linalg.slogdet(jacobian).logabsdet[None], rtol=1e-9, atol=1e-9)


def check_inverse(f: Bijection, x: Tensor, context: Context, error: float) -> None:
    z, _ = f(x, context)
    assert z.dtype == x.dtype and z.shape == x.shape
    assert (f.inverse(z, context) - x).abs().max() < error


def check_samples_apart(f: Bijection, x: Tensor, context: Context) -> None:
    """What becomes of a sample does not depend on those beside it."""
    together, alone = f(x, context), [f(x[i : i + 1], one_of(context, i)) for i in range(len(x))]
    for i in range(2):
        torch.testing.assert_close(together[i], torch.cat([a[i] for a in alone]))


def one_of(context: Context, i: int) -> Context:
    return Context(*(None if t is None else t[i : i + 1] for t in context))


def check_far_away(f: Bijection, shape: tuple[int, ...], context: Context = NO_CONTEXT, error: float = 1e-10) -> None:
    """At ±1e6 and between, in float64, z and ladj are finite, ladj is that of the Jacobian, and x comes back."""
    x = torch.tensor([-1e6, -3.0, 0.0, 2.0, 1e6], dtype=torch.float64)
    x = x[torch.arange(torch.Size(shape).numel()) % len(x)].view(1, *shape)
    z, ladj = f(x, context)
    assert z.isfinite().all() and ladj.isfinite().all()
    torch.testing.assert_close(f.inverse(z, context), x, rtol=error, atol=error * 1e6)
    check_ladj(f, x, context)
