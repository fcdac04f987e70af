"""Flow++: the distribution function of a mixture of logistics as an increasing map, and couplings by it."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genmodels.context import NO_CONTEXT, Context, Sizes
from genmodels.errors import UserError
from genmodels.models.flow import Flow
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.coupling import Coupling
from genmodels.nn.flows.flowpp import FlowPP, FlowPPNet, channel_steps, masked_steps
from genmodels.nn.flows.mixture_logistic import MixtureLogistic
from genmodels.nn.flows.partitions import Halves
from genmodels.parts.densities import StandardNormal
from tests.bijection_checks import (
    as_they_are,
    check_far_away,
    check_inverse,
    check_ladj,
    check_samples_apart,
    flow_of,
    randomised,
)
from tests.helpers import build_model

IMAGE = (2, 4, 4)
UNTOLD: Sizes = {}
OPTIONS = {"components": 3, "blocks": 1, "width": 8, "heads": 2, "dropout": 0.0}


def flowpp(shape: tuple[int, ...] = IMAGE, context: Sizes = UNTOLD, **changed) -> FlowPP:
    return FlowPP(shape=shape, context=context, **{"couplings": [2, 1, 1], **OPTIONS, **changed})


def nothing(n: int, dtype: torch.dtype = torch.float64) -> Context:
    return NO_CONTEXT


def labels(n: int, dtype: torch.dtype = torch.float64) -> Context:
    return Context(vector=one_hot(torch.arange(n) % 3, 3).to(dtype))


BIJECTIONS = {
    "masked steps": (lambda: Chain(masked_steps(IMAGE, 1, context={}, **OPTIONS)), nothing),
    "channel steps": (lambda: Chain(channel_steps(IMAGE, context={}, **OPTIONS)), nothing),
    "flow++": (flowpp, nothing),
    "flow++, conditional": (lambda: flowpp(context={"vector": 3}), labels),
}
bijections = pytest.mark.parametrize(("build", "context"), BIJECTIONS.values(), ids=BIJECTIONS)


@bijections
def test_ladj_is_the_numerical_jacobian(build, context):
    check_ladj(randomised(build()).double(), torch.randn(1, *IMAGE, dtype=torch.float64), context(1))


@bijections
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_inverse_is_exact(build, context, dtype, error):
    f = randomised(build(), 0.05).to(dtype)
    check_inverse(f, torch.randn(16, *IMAGE, dtype=dtype), context(16, dtype), error)


@bijections
def test_samples_do_not_touch_each_other(build, context):
    check_samples_apart(randomised(build()).double(), torch.randn(6, *IMAGE, dtype=torch.float64), context(6))


@bijections
def test_far_away_numbers_come_back(build, context):
    check_far_away(randomised(build(), 0.05).double(), IMAGE, context(1), error=1e-9)


# The map


def g(components: int = 3) -> MixtureLogistic:
    return MixtureLogistic(components=components, channels=1, dims=1)


def theta_of(n: int, components: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(n, g(components).n_params, 1).to(dtype)


def test_the_map_is_the_logit_of_the_mixture_s_distribution():
    """By its definition, with sigmoids."""
    x, theta = torch.linspace(-8, 8, 50, dtype=torch.float64)[:, None], theta_of(50)
    r, b, logits, mu, s = theta[:, 0], theta[:, 1], theta[:, 2:5], theta[:, 5:8], theta[:, 8:]
    mu = mu + torch.tensor([-1.0, 0.0, 1.0]).view(3, 1)
    f = (logits.softmax(1) * ((x[:, None] - mu) / s.exp()).sigmoid()).sum(1)
    torch.testing.assert_close(g().double()(x, theta)[0], f.logit() * r.tanh().exp() + b)


@pytest.mark.parametrize("far", [0.0, 3.0, 1e3, -1e6, 1e6])
def test_the_slope_is_the_derivative_and_x_comes_back_also_far_away(far):
    x = torch.full((20, 1), far, dtype=torch.float64, requires_grad=True)
    map_, theta = g().double(), theta_of(20)
    z, log_slope = map_(x, theta)
    (slope,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(log_slope.exp(), slope, rtol=1e-7, atol=0)
    torch.testing.assert_close(map_.inverse(z, theta), x, rtol=1e-10, atol=1e-10)


def test_the_map_comes_back_in_float32():
    x, theta = torch.linspace(-3, 3, 100)[:, None], 0.5 * theta_of(100, dtype=torch.float32)
    assert (g().inverse(g()(x, theta)[0], theta) - x).abs().max() < 1e-5


def test_narrow_and_wide_components_are_finite():
    x = torch.tensor([-1e6, 0.0, 1e6])[:, None].requires_grad_()
    theta = torch.zeros(3, g().n_params, 1).requires_grad_()
    z, log_slope = g()(x, theta + torch.tensor([0.0] * 8 + [-50.0, 0.0, 30.0]).view(11, 1))
    assert z.isfinite().all() and log_slope.isfinite().all()
    grads = torch.autograd.grad((z + log_slope).sum(), [x, theta])
    assert all(grad.isfinite().all() for grad in grads)


def test_one_component_is_an_affine_map_and_starts_as_the_identity():
    x = torch.linspace(-5, 5, 11, dtype=torch.float64)[:, None]
    z, log_slope = g(1).double()(x, torch.zeros(11, 5, 1, dtype=torch.float64))
    torch.testing.assert_close(z, x)
    torch.testing.assert_close(log_slope, torch.zeros_like(x))


def test_components_learn_different_things():
    """Their gradients differ at the start, where their parameters are the same."""
    theta = torch.zeros(50, g().n_params, 1, requires_grad=True)
    z, log_slope = g()(torch.linspace(-3, 3, 50)[:, None], theta)
    (z.square() / 2 - log_slope).sum().backward()
    grad = theta.grad.sum(0)[2:].view(3, 3)
    assert not torch.isclose(grad[:, 0], grad[:, 2], atol=1e-3).all()


def test_density_integrates_to_one():
    """Of points with two channels, by quadrature."""
    shape, steps = (2, 1, 1), {}
    for i in range(2):
        steps |= {f"{i}.{j}": step for j, step in enumerate(channel_steps(shape, context={}, **OPTIONS))}
    f: Bijection = randomised(Chain(steps.values()), 0.2)
    flow = flow_of(as_they_are(*shape), StandardNormal(shape=shape), f=f).double()
    n, edge = 300, 15.0
    side = torch.linspace(-edge, edge, n, dtype=torch.float64)
    points = torch.cartesian_prod(side, side).view(-1, *shape)
    mass = flow.log_prob(points).exp().sum() * (2 * edge / (n - 1)) ** 2
    assert abs(mass - 1) < 2e-3


# The network and the flow


def test_attention_sees_all_places_and_where_they_are():
    torch.manual_seed(0)
    net = randomised(
        FlowPPNet(channels_in=1, channels_out=1, size=(8, 8), context={}, blocks=1, width=8, heads=2, dropout=0.0)
    )
    x = torch.zeros(1, 1, 8, 8, requires_grad=True)
    (grad,) = torch.autograd.grad(net(x)[0, 0, 0, 0], x)
    assert (grad != 0).all()
    inner = net(torch.zeros(1, 1, 8, 8))[0, 0, 2:6, 2:6]
    assert inner.flatten().unique().numel() > 1, "positions tell places apart"


def test_a_coupling_keeps_what_its_network_sees():
    *_, coupling = channel_steps(IMAGE, context={}, **OPTIONS)
    assert isinstance(coupling, Coupling) and isinstance(coupling.partition, Halves)
    x = torch.randn(2, *IMAGE)
    z, _ = randomised(coupling)(x)
    assert torch.equal(z[:, :1], x[:, :1]) and not torch.isclose(z[:, 1:], x[:, 1:]).any()


def from_yaml(*overrides: str) -> Flow:
    small = ["width=8", "blocks=1", "couplings=[2,1,1]", "components=3"]
    small = [f"model.bijections.flowpp.{each}" for each in small] + ["model.space.noise.width=8"]
    return randomised(build_model("flowpp", *small, *overrides), 0.05).eval()


def digits(n: int) -> Tensor:
    return torch.randint(17, (n, 1, 8, 8), dtype=torch.uint8)


def test_codes_give_back_the_integers():
    flow, x = from_yaml(), digits(8)
    flow.initialise(x)
    assert torch.equal(flow.decode(flow.encode(x)), x)
    assert flow.sample(3).shape == (3, 1, 8, 8) and flow.likelihood_protocol() == {"dequantization": "variational"}


def test_the_flow_stays_in_float32_under_autocast():
    flow, x = from_yaml(), digits(16)
    flow.initialise(x)
    torch.manual_seed(0)
    exact = flow.log_prob(x)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = flow.loss(x)["loss"]
    assert loss.dtype == torch.float32
    torch.testing.assert_close(-loss, exact, rtol=0.02, atol=1.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: flowpp((1, 5, 4)), "images of 5x4, expected even sides"),
        (lambda: flowpp((5,)), r"Flow\+\+ takes images"),
        (lambda: flowpp(heads=3), "width 8 for 3 heads"),
        (lambda: flowpp(couplings=[4, 2]), r"couplings \[4, 2\], expected 3 numbers"),
        (lambda: flowpp(context={"maps": 1}), r"Flow\+\+ takes vector of a condition"),
    ],
)
def test_bad_settings_are_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()
