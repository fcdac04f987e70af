"""Flows of points: splines, autoregressive, planar and radial maps, and batch norm between them."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genmodels.capabilities import Encodes, Prepares, Samples, can, why_not
from genmodels.context import NO_CONTEXT, Context, Sizes
from genmodels.errors import UserError
from genmodels.models.flow import Flow
from genmodels.nn.flows.autoregressive import Inverse
from genmodels.nn.flows.batch_norm import BatchNorm, settling
from genmodels.nn.flows.bijections import Bijection
from genmodels.nn.flows.elementwise import GaussianAffine
from genmodels.nn.flows.invertible_conv import InvertibleConv
from genmodels.nn.flows.maf import MAF
from genmodels.nn.flows.planar import PlanarFlow, PlanarMap, RadialFlow, RadialMap
from genmodels.nn.flows.rational_quadratic import RationalQuadratic
from genmodels.nn.flows.spline_flow import SplineAutoregressive, SplineCouplings
from genmodels.nn.layers.residual_mlp import MaskedResidualMLP
from genmodels.parts.densities import StandardNormal
from tests.bijection_checks import as_they_are, check_inverse, check_ladj, check_samples_apart, flow_of, randomised
from tests.helpers import build_model

D = 4
UNTOLD: Sizes = {}
TOLD: Sizes = {"vector": 3}
NETWORK = {"bins": 5, "bound": 3.0, "width": 16, "blocks": 1, "dropout": 0.0}


def couplings(d: int = D, context: Sizes = UNTOLD) -> Bijection:
    return SplineCouplings(shape=(d,), couplings=2, context=context, **NETWORK)


def spline_layers(d: int = D, context: Sizes = UNTOLD) -> Bijection:
    return SplineAutoregressive(shape=(d,), layers=2, context=context, **NETWORK)


def maf(d: int = D, context: Sizes = UNTOLD, standing_batches: int | None = None) -> MAF:
    sizes = {"layers": 3, "widths": [16, 16], "activation": "tanh"}
    return MAF(shape=(d,), standing_batches=standing_batches, context=context, **sizes)


BIJECTIONS = {
    "linear": lambda: InvertibleConv(shape=(D,)),
    "spline couplings": couplings,
    "spline couplings, odd": lambda: couplings(3),
    "spline couplings, conditional": lambda: couplings(context=TOLD),
    "spline, autoregressive": spline_layers,
    "spline, autoregressive, conditional": lambda: spline_layers(context=TOLD),
    "maf": maf,
    "maf, conditional": lambda: maf(context=TOLD),
    "maf with batch norm": lambda: maf(standing_batches=1),
    "maf of one coordinate, conditional": lambda: maf(1, context=TOLD),
    "iaf": lambda: Inverse(inner=maf()),
    "planar": lambda: PlanarFlow(shape=(D,), layers=3, context={}),
    "radial": lambda: RadialFlow(shape=(D,), layers=3, context={}),
}
bijections = pytest.mark.parametrize("name", BIJECTIONS)
invertible = pytest.mark.parametrize("name", [name for name in BIJECTIONS if name not in ("planar", "radial")])


def made(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """The bijection, away from its start, in evaluation mode."""
    torch.manual_seed(1)
    return randomised(BIJECTIONS[name](), 0.1).to(dtype).eval()


def points(name: str, n: int, dtype: torch.dtype = torch.float64, far: float = 2.0) -> Tensor:
    d = {"spline couplings, odd": 3, "maf of one coordinate, conditional": 1}.get(name, D)
    return far * torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def labels(n: int, dtype: torch.dtype = torch.float64) -> Context:
    return Context(vector=one_hot(torch.arange(n) % 3, 3).to(dtype))


def told(name: str, n: int, dtype: torch.dtype = torch.float64) -> Context:
    return labels(n, dtype) if "conditional" in name else NO_CONTEXT


@bijections
@pytest.mark.parametrize("far", [1.0, 1e6])
def test_ladj_is_the_numerical_jacobian(name, far):
    f = made(name)
    for x in points(name, 8, far=far).split(1):
        check_ladj(f, x, told(name, 1))


@invertible
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_inverse_is_exact(name, dtype, error):
    check_inverse(made(name, dtype), points(name, 64, dtype, far=1.0), told(name, 64, dtype), error)


@invertible
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_inverse_is_exact_far_from_the_data(name, dtype, error):
    """To a part of the largest coordinate, beside which a number of this type holds no more of the others."""
    x, context = points(name, 64, dtype).sign() * 1e6, told(name, 64, dtype)
    check_inverse(made(name, dtype), x, context, error * 1e6)


@bijections
def test_samples_do_not_touch_each_other(name):
    check_samples_apart(made(name), points(name, 6), told(name, 6))


@invertible
def test_gradients_are_finite_far_from_the_data(name):
    f, x = made(name, torch.float32), points(name, 6, torch.float32, far=1e6).requires_grad_()
    z, ladj = f(x, told(name, 6, torch.float32))
    (z.mean() + ladj.mean()).backward()
    assert x.grad.isfinite().all() and all(p.grad is None or p.grad.isfinite().all() for p in f.parameters())


# Splines


def spline(std: float, dtype: torch.dtype = torch.float64) -> tuple[RationalQuadratic, Tensor]:
    """g with K = 6 and B = 3, and its parameters for 500 x 4 numbers."""
    g = RationalQuadratic(bins=6, bound=3.0)
    noise = torch.randn(500, g.n_params, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return g, (std * noise).to(dtype)


def numbers(g: RationalQuadratic, theta: Tensor, where: str) -> Tensor:
    """500 x 4 numbers inside, at a knot between bins, at a bound or far away."""
    inside = torch.linspace(-3.5, 3.5, 500 * D, dtype=theta.dtype).view(500, D)
    knots = g.knots(theta)[0]
    at = {"inside": inside, "knot": knots[..., 2], "lower": knots[..., 0], "upper": knots[..., -1]}
    return at.get(where, inside.sign() * 1e6)


@pytest.mark.parametrize("where", ["inside", "knot", "lower", "upper", "far"])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("std", [0.3, 2.0])
def test_inverse_of_a_spline_is_exact(where, dtype, error, std):
    """In the units of x or of z, whichever are longer: where the slope is small, the rounding of z loses much of x."""
    g, theta = spline(std, dtype)
    x = numbers(g, theta, where)
    z, log_slope = g(x, theta)
    difference = (g.inverse(z, theta) - x).abs()
    assert (difference * log_slope.exp().clamp(max=1)).max() < error
    assert std > 1 or difference.max() < error


def test_the_slope_of_a_spline_is_its_derivative_and_positive():
    g, theta = spline(2.0)
    x = numbers(g, theta, "inside").requires_grad_()
    z, log_slope = g(x, theta)
    (slope,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(log_slope, slope.log())
    assert log_slope.max() > 1 and log_slope.min() < -3


def test_a_spline_is_smooth_at_its_knots_and_keeps_what_is_outside():
    g, theta = spline(1.0)
    edges = g.knots(theta)
    for k in range(7):
        x, y, derivative = (each[..., k] for each in edges)
        for side in (-1e-12, 0.0, 1e-12):
            z, log_slope = g(x + side, theta)
            torch.testing.assert_close(z, y, atol=1e-9, rtol=0)
            torch.testing.assert_close(log_slope, derivative.log(), atol=1e-6, rtol=0)
    assert (edges[2][..., [0, -1]] == 1).all() and (edges[0][..., -1] == 3).all()
    far = numbers(g, theta, "far")
    assert torch.equal(g(far, theta)[0], far) and torch.equal(g.inverse(far, theta), far) and not g(far, theta)[1].any()


def test_a_spline_without_parameters_is_the_identity():
    g, theta = spline(0.0)
    x = numbers(g, theta, "inside")
    z, log_slope = g(x, theta)
    torch.testing.assert_close(z, x)
    torch.testing.assert_close(log_slope, torch.zeros_like(x))
    assert (g.knots(theta)[0].diff() - 1).abs().max() < 1e-12


def test_no_bin_is_thinner_than_a_thousandth():
    g, theta = spline(50.0)
    x, y, derivative = g.knots(theta)
    assert x.diff().min() >= 6e-3 - 1e-12 and y.diff().min() >= 6e-3 - 1e-12 and derivative.min() >= 1e-3
    assert x.diff().min() < 7e-3, "some are nearly that thin"


@pytest.mark.parametrize(("bins", "bound"), [(1, 3.0), (501, 3.0), (8, 0.0), (8, -1.0)])
def test_bins_and_bounds_without_meaning_are_refused(bins, bound):
    with pytest.raises(UserError, match=f"a spline got bins={bins} and bound={bound}, expected"):
        RationalQuadratic(bins=bins, bound=bound)


def test_splines_start_as_linear_maps():
    for flow in (couplings(), spline_layers()):
        _, ladj = flow(torch.randn(8, D))
        assert ladj.abs().max() < 1e-5, "and as rotations"


# Autoregressive flows


@pytest.mark.parametrize("context", [UNTOLD, TOLD])
def test_a_masked_residual_network_sees_what_comes_before_and_nothing_else(context):
    order = (2, 0, 3, 1)
    net = randomised(MaskedResidualMLP(order=order, k=2, width=32, blocks=2, dropout=0.0, context=context)).double()
    given = labels(1) if context else NO_CONTEXT
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x, given)[0], torch.randn(1, D).double())[:, 0]
    for i, numbers_of_i in enumerate(jacobian.view(2, D, D).unbind(1)):
        before = [j for j in range(D) if order.index(j) < order.index(i)]
        assert [j for j in range(D) if numbers_of_i[:, j].all()] == before
        assert [j for j in range(D) if numbers_of_i[:, j].any()] == before
    if context:
        x, vector = torch.zeros(1, D).double(), labels(1).vector
        seen = torch.autograd.functional.jacobian(lambda c: net(x, Context(vector=c)), vector)
        assert seen.all(), "every number depends on the condition, those of the first entry too"


def test_every_layer_of_maf_is_triangular_in_its_order():
    flow, x = randomised(maf()).double(), torch.randn(1, D).double()
    for i, layer in enumerate(flow.steps):
        jacobian = torch.autograd.functional.jacobian(lambda x, f=layer: f(x)[0], x).view(D, D)
        kept = jacobian.triu() if i % 2 else jacobian.tril()
        assert torch.equal(jacobian, kept) and kept.count_nonzero() == D * (D + 1) // 2


def test_the_noise_of_a_gaussian():
    theta = torch.tensor([[[1.0, 1.0]], [[0.0, 100.0]]]).transpose(0, 1)  # (1, 2, 2): mu 1 and 1, r 0 and 100
    z, log_slope = GaussianAffine()(torch.tensor([[3.0, 3.0]]), theta)
    torch.testing.assert_close(z, torch.tensor([[2.0, 2 * torch.exp(torch.tensor(-5.0)).item()]]))
    torch.testing.assert_close(log_slope, torch.tensor([[0.0, -5.0]]))


def test_iaf_is_the_inverse_of_maf():
    inner = randomised(maf()).double()
    x = torch.randn(5, D).double()
    z, ladj = Inverse(inner=inner)(x)
    torch.testing.assert_close(inner(z)[0], x)
    torch.testing.assert_close(inner(z)[1], -ladj)


def test_iaf_has_no_batch_norm():
    with pytest.raises(UserError, match="with batch norm cannot be trained; set standing_batches=null"):
        Inverse(inner=maf(standing_batches=3))


# Batch norm


def test_batch_norm_normalizes_a_batch_in_training_and_its_ladj_is_that_of_the_batch():
    norm, x = randomised(BatchNorm(shape=(D,), standing_batches=1)).double(), 3 + 2 * torch.randn(50, D).double()
    z, ladj = norm(x)
    torch.testing.assert_close((z - norm.beta).mean(0), torch.zeros(D).double())
    torch.testing.assert_close(z.std(0, correction=0), norm.gamma.exp().detach(), rtol=1e-4, atol=0)
    expected = (norm.gamma - (x.var(0, correction=0) + 1e-5).log() / 2).sum()
    torch.testing.assert_close(ladj, expected.expand(50))


def test_batch_norm_has_running_moments_otherwise():
    norm = BatchNorm(shape=(D,), standing_batches=1)
    batches = torch.randn(200, 100, D) * torch.tensor([1.0, 2.0, 3.0, 4.0]) + 5
    for x in batches:
        norm(x)
    norm.eval()
    torch.testing.assert_close(norm.m, torch.full((D,), 5.0), rtol=0.1, atol=0)
    torch.testing.assert_close(norm.v, torch.tensor([1.0, 4.0, 9.0, 16.0]), rtol=0.15, atol=0)
    before = norm.m.clone()
    one, two = norm(batches[0])[0], norm(batches[0, :7])[0]
    assert torch.equal(one[:7], two) and torch.equal(norm.m, before)


def test_batch_norm_of_images_has_a_moment_for_each_channel():
    norm, x = BatchNorm(shape=(3, 4, 4), standing_batches=1), torch.randn(8, 3, 4, 4)
    z, ladj = norm(x)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(ladj[0], -16 * (x.var((0, 2, 3), correction=0) + 1e-5).log().sum() / 2)
    check_inverse(norm.eval(), x, NO_CONTEXT, 1e-5)


def test_an_evaluation_has_the_moments_of_several_batches_together():
    """Layer by layer: what the second one normalizes has passed the first with its new moments."""
    flow = flow_of(as_they_are(D), StandardNormal(shape=(D,)), maf=randomised(maf(standing_batches=3)))
    data = [(1 + 2 * torch.randn(20, D), {}) for _ in range(5)]
    flow.before_evaluation(iter(data))
    x = torch.cat([batch for batch, _ in data[:3]])
    for step in flow.f.steps[0].steps:
        if isinstance(step, BatchNorm):
            torch.testing.assert_close(step.m, x.mean(0))
            torch.testing.assert_close(step.v, x.var(0, correction=0))
        x = step(x)[0]
    with settling(flow):
        pass
    assert not any(norm.settling for norm in flow.modules() if isinstance(norm, BatchNorm))
    assert why_not(flow_of(as_they_are(D), StandardNormal(shape=(D,)), maf=maf()), Prepares) == "it has no batch norm"


# Densities


def mass(flow: Flow, n: int = 400, edge: float = 10.0) -> float:
    """The integral of the density over a square."""
    side = torch.linspace(-edge, edge, n, dtype=torch.float64)
    return flow.log_prob(torch.cartesian_prod(side, side)).exp().sum().item() * (2 * edge / (n - 1)) ** 2


PLANE = {
    "spline couplings": lambda: couplings(2),
    "spline, autoregressive": lambda: spline_layers(2),
    "maf": lambda: maf(2),
    "maf with batch norm": lambda: maf(2, standing_batches=1),
    "iaf": lambda: Inverse(inner=maf(2)),
    "planar": lambda: PlanarFlow(shape=(2,), layers=4, context={}),
    "radial": lambda: RadialFlow(shape=(2,), layers=4, context={}),
}


@pytest.mark.parametrize("name", PLANE)
def test_a_density_in_the_plane_integrates_to_one(name):
    torch.manual_seed(2)
    flow = flow_of(as_they_are(2), StandardNormal(shape=(2,)), f=randomised(PLANE[name](), 0.2)).double()
    if can(flow, Prepares):
        flow.before_evaluation([(0.3 * torch.randn(500, 2).double(), {})])
    assert abs(mass(flow) - 1) < 2e-3
    x = torch.randn(100, 2).double()
    assert (flow.log_prob(x) - flow.base.log_prob(x)).std() > 0.1, "it is not the base's"


@pytest.mark.parametrize("kind", [PlanarMap, RadialMap])
def test_planar_and_radial_maps_stay_invertible_whatever_their_weights(kind):
    """In one dimension they rise: their slope is above 0."""
    torch.manual_seed(0)
    x = torch.linspace(-20, 20, 20001, dtype=torch.float64)[:, None]
    for _ in range(50):
        f = kind(d=1).double()
        with torch.no_grad():
            for p in f.parameters():
                p.mul_(10).add_(torch.randn_like(p))
            z, ladj = f(x)
        assert (z.diff(dim=0) > 0).all() and ladj.isfinite().all()


@pytest.mark.parametrize("name", ["planar_flow", "radial_flow"])
def test_planar_and_radial_flows_score_and_do_not_sample(name):
    flow = build_model(name, shape=(2,), levels=None)
    kind = "PlanarMap" if name == "planar_flow" else "RadialMap"
    for capability in (Samples, Encodes):
        assert why_not(flow, capability) == f"its bijection {kind} has no closed inverse"
    assert flow.log_prob(torch.randn(3, 2)).shape == (3,)
    with pytest.raises(UserError, match="flow takes no condition of a condition"):
        build_model(name, "model/conditioner=label", shape=(2,), levels=None)


@pytest.mark.parametrize("name", ["spline_flow", "realnvp_points"])
def test_couplings_with_one_dimension_are_refused(name):
    with pytest.raises(UserError, match=r"shape \[1\], expected \[d\] with d of at least 2"):
        build_model(name, shape=(1,), levels=None)
