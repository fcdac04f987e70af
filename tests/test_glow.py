"""Glow's parts are bijections with the right log-determinant, also when data have just set its ActNorms."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genmodels.context import Context, Sizes
from genmodels.errors import UserError
from genmodels.models.flow import Flow
from genmodels.nn.flows.actnorm import ActNorm, initialising
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.glow import Glow
from genmodels.nn.flows.glow_layers import CouplingName, SplitPrior, glow_coupling
from genmodels.nn.flows.invertible_conv import InvertibleConv
from genmodels.nn.flows.multiscale import Split, Squeezed
from genmodels.parts.densities import StandardNormal
from genmodels.samplers.direct import Direct
from genmodels.seeds import ByNumber
from tests.bijection_checks import as_they_are, check_inverse, check_ladj, check_samples_apart, flow_of, randomised
from tests.helpers import build_model

IMAGE = (4, 4, 4)
UNTOLD: Sizes = {}
SMALL = ["model.bijections.glow.couplings=2", "model.bijections.glow.width=16"]


def glow(
    shape: tuple[int, ...] = IMAGE, scales: int = 2, coupling: CouplingName = "affine", context: Sizes = UNTOLD
) -> Glow:
    return Glow(shape=shape, scales=scales, couplings=2, coupling=coupling, width=8, dropout=0.0, context=context)


def from_yaml(*overrides: str, **facts) -> Flow:
    """The flow of glow.yaml, smaller, moved away from its start."""
    return randomised(build_model("glow", *SMALL, *overrides, **facts), 0.05).eval()


def images(n: int, shape: tuple[int, ...], levels: int) -> Tensor:
    return torch.randint(levels, (n, *shape), dtype=torch.uint8)


def normalised(h: Tensor) -> bool:
    """Whether each channel has mean 0 and std 1 over the batch and all places."""
    std, mean = torch.std_mean(h.transpose(0, 1).flatten(1), dim=1, correction=0)
    return bool(mean.abs().max() < 1e-4 and (std - 1).abs().max() < 1e-4)


def recorded(flow: torch.nn.Module) -> list[Tensor]:
    """A list that the output of each ActNorm will be added to."""
    outputs: list[Tensor] = []
    for norm in [part for part in flow.modules() if isinstance(part, ActNorm)]:
        norm.register_forward_hook(lambda module, args, output: outputs.append(output[0].detach()))
    return outputs


BIJECTIONS = {
    "actnorm": lambda: ActNorm(shape=IMAGE),
    "invertible convolution": lambda: InvertibleConv(shape=IMAGE),
    "affine coupling": lambda: glow_coupling("affine", channels=4, width=8, dropout=0.0, context={}),
    "additive coupling": lambda: glow_coupling("additive", channels=4, width=8, dropout=0.0, context={}),
    "prior of a split": lambda: SplitPrior(channels=4),
    "glow": glow,
    "glow, additive": lambda: glow(coupling="additive"),
    "glow, conditional": lambda: glow(context={"vector": 3}),
}
bijections = pytest.mark.parametrize("build", BIJECTIONS.values(), ids=BIJECTIONS)


def context(n: int, dtype: torch.dtype = torch.float64) -> Context:
    return Context(vector=one_hot(torch.arange(n) % 3, 3).to(dtype))


@pytest.mark.parametrize("initialised", [False, True])
@bijections
def test_ladj_is_the_numerical_jacobian(build, initialised):
    f = randomised(build(), 0.1).double()
    if initialised:
        with initialising(f), torch.no_grad():
            f(3 + 2 * torch.randn(64, *IMAGE, dtype=torch.float64), context(64))
    check_ladj(f, torch.randn(1, *IMAGE, dtype=torch.float64), context(1))


@bijections
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_inverse_is_exact(build, dtype, error):
    check_inverse(randomised(build(), 0.05).to(dtype), torch.randn(16, *IMAGE, dtype=dtype), context(16, dtype), error)


@bijections
def test_samples_do_not_touch_each_other(build):
    check_samples_apart(randomised(build()).double(), torch.randn(6, *IMAGE, dtype=torch.float64), context(6))


def test_the_convolution_starts_as_a_rotation():
    torch.manual_seed(0)
    x, f = torch.randn(3, 6, 2, 2), InvertibleConv(shape=(6, 2, 2))
    z, ladj = f(x)
    torch.testing.assert_close(z.square().sum(1), x.square().sum(1))
    assert ladj.abs().max() < 1e-5 and not torch.allclose(z, x)
    lower, upper = f.triangles()
    w = (lower @ upper)[f.order].double()
    torch.testing.assert_close(z.double(), torch.einsum("ij,bjhw->bihw", w, x.double()), rtol=1e-5, atol=1e-5)


def test_couplings_and_priors_start_without_a_network():
    torch.manual_seed(0)
    x = torch.randn(3, *IMAGE)
    z, ladj = glow_coupling("affine", channels=4, width=8, dropout=0.0, context={})(x)
    scale = torch.tensor(2.0).sigmoid() + 1e-3
    torch.testing.assert_close(z, torch.cat([x[:, :2], scale * x[:, 2:]], dim=1))
    torch.testing.assert_close(ladj, (32 * scale.log()).expand(3))
    additive = glow_coupling("additive", channels=4, width=8, dropout=0.0, context={})
    assert torch.equal(additive(x)[0], x) and torch.equal(SplitPrior(channels=4)(x)[0], x)


def test_an_additive_coupling_keeps_volume_and_what_the_network_sees():
    x, f = torch.randn(3, *IMAGE), randomised(glow_coupling("additive", 4, width=8, dropout=0.0, context={}))
    z, ladj = f(x)
    assert torch.equal(ladj, torch.zeros(3)) and torch.equal(z[:, :2], x[:, :2]) and not torch.equal(z[:, 2:], x[:, 2:])


# Initial weights from data


def test_actnorm_is_the_identity_until_data_set_it():
    torch.manual_seed(0)
    norm, x = ActNorm(shape=(3, 1, 1)), 5 + torch.randn(100, 3, 4, 4) * torch.tensor([0.1, 1.0, 10.0]).view(3, 1, 1)
    assert torch.equal(norm(x)[0], x)
    with initialising(norm):
        assert normalised(norm(x)[0])
    z, ladj = norm(x)
    assert normalised(z)
    torch.testing.assert_close(ladj, -16 * x.std((0, 2, 3), correction=0).log().sum().expand(100), rtol=1e-4, atol=0)
    assert normalised(norm(x[:50])[0]) is False, "nothing is set any more"


def test_a_constant_channel_is_not_divided_by_zero():
    norm = ActNorm(shape=(1, 1, 1))
    with initialising(norm):
        z, ladj = norm(torch.full((4, 1, 2, 2), 0.3))
    assert z.abs().max() < 0.1 and ladj.isfinite().all()


@pytest.mark.parametrize("facts", [{"shape": (1, 8, 8), "levels": 17}, {"shape": (3, 32, 32), "levels": 256}])
def test_every_actnorm_is_set_in_one_pass(facts):
    flow = from_yaml(**facts)
    outputs, x = recorded(flow), images(32, facts["shape"], facts["levels"])
    with torch.autocast("cpu", torch.bfloat16):  # in float32 all the same
        flow.initialise(x)
    assert len(outputs) == 2 * 2 * 3 + 1 and all(normalised(h) for h in outputs)
    assert all(p.grad is None for p in flow.parameters())
    weights = [p.clone() for p in flow.parameters()]
    flow.log_prob(x[:16])
    assert all(torch.equal(p, kept) for p, kept in zip(flow.parameters(), weights, strict=True)), "set once"


def test_actnorms_inside_wrappers_are_reached():
    f = Chain([ActNorm(shape=(2, 4, 4)), Squeezed(inner=Chain([Split(inner=ActNorm(shape=(4, 2, 2)))]))])
    flow = flow_of(as_they_are(2, 4, 4), StandardNormal(shape=(2, 4, 4)), f=f)
    outputs = recorded(flow)
    flow.initialise(7 + 3 * torch.randn(64, 2, 4, 4))
    assert len(outputs) == 2 and all(normalised(h) for h in outputs)


def test_weights_are_all_that_is_kept():
    """A resumed run, which initialises nothing, has what data have set."""
    flow, other = from_yaml(), build_model("glow", *SMALL, seed=1).eval()
    x = images(16, (1, 8, 8), 17)
    flow.initialise(x)
    other.load_state_dict(flow.state_dict())
    assert torch.equal(flow.encode(x), other.encode(x))


# The flow


def test_density_integrates_to_one():
    """Of points with two channels, by quadrature."""
    shape = (2, 1, 1)
    steps: dict[str, Bijection] = {}
    for i in range(3):
        steps |= {f"actnorm{i}": ActNorm(shape=shape), f"conv{i}": InvertibleConv(shape=shape)}
        steps[f"coupling{i}"] = glow_coupling("affine", channels=2, width=16, dropout=0.0, context={})
    flow = flow_of(as_they_are(*shape), StandardNormal(shape=shape), **steps, prior=SplitPrior(channels=2))
    randomised(flow, 0.2)
    flow.initialise(torch.randn(200, *shape))
    flow, n, edge = flow.double(), 200, 12.0
    side = torch.linspace(-edge, edge, n, dtype=torch.float64)
    points = torch.cartesian_prod(side, side).view(-1, *shape)
    mass = flow.log_prob(points).exp().sum() * (2 * edge / (n - 1)) ** 2
    assert abs(mass - 1) < 2e-3


@pytest.mark.parametrize(
    ("facts", "scales"),
    [
        ({"shape": (1, 8, 8), "levels": 17}, 3),
        ({"shape": (1, 28, 28), "levels": 256}, 2),
        ({"shape": (3, 32, 32), "levels": 256}, 3),
    ],
)
def test_codes_give_back_the_integers(facts, scales):
    flow = from_yaml(f"model.bijections.glow.scales={scales}", **facts)
    x = images(8, facts["shape"], facts["levels"])
    flow.initialise(x)
    z = flow.encode(x)
    assert z.shape == x.shape and z.dtype == torch.float32 and 0.2 < z.std() < 5
    assert torch.equal(flow.decode(z), x)
    assert flow.sample(3).shape == (3, *facts["shape"]) and flow.bound == "elbo"


def test_temperature_scales_the_noise():
    flow = from_yaml()
    flow.initialise(images(64, (1, 8, 8), 17))
    z = ByNumber(0, 0, 8).normal((8, 1, 8, 8), torch.device("cpu"))
    for temperature in (1.0, 0.7):
        flow.use(Direct(temperature=temperature, truncation=None))
        torch.testing.assert_close(flow.sample(8, rng=ByNumber(0, 0, 8)), flow.decode(temperature * z))
    assert not torch.equal(flow.decode(0.7 * z), flow.decode(z))


def test_labels_change_the_density():
    flow, x = from_yaml("model/conditioner=label"), images(10, (1, 8, 8), 17)
    flow.initialise(x, {"label": torch.arange(10)})
    codes = [flow.encode(x, {"label": torch.full((10,), label)}) for label in (0, 1)]
    assert (codes[0] - codes[1]).abs().amax((1, 2, 3)).min() > 1e-3
    assert torch.equal(flow.decode(codes[1], {"label": torch.full((10,), 1)}), x)
    assert flow.sample(5).shape == (5, 1, 8, 8) and list(flow.condition) == ["label"]


def test_large_weights_sample_without_nan():
    flow = randomised(from_yaml(shape=(3, 8, 8), levels=256), 0.3)
    u = flow.f.inverse(flow.base.sample(64))
    assert u.isfinite().all() and flow.sample(64).unique().numel() > 1


def test_bijections_stay_in_float32_under_autocast():
    flow, x = from_yaml(), images(32, (1, 8, 8), 17)
    flow.initialise(x)
    torch.manual_seed(0)
    exact = flow.log_prob(x)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        terms = flow.loss(x)
        z = flow.encode(x)
    assert all(term.dtype == torch.float32 for term in terms.values()) and z.dtype == torch.float32
    torch.testing.assert_close(-terms["loss"], exact, rtol=0.02, atol=1.0)
    terms["loss"].mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in flow.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: glow((1, 6, 6), scales=2), r"\[1, 6, 6\] and 2 scales"),
        (lambda: glow(scales=0), "0 scales"),
        (lambda: glow((5,)), "expected images"),
        (lambda: glow(context={"maps": 1}), "Glow takes vector of a condition"),
    ],
)
def test_bad_settings_are_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()
