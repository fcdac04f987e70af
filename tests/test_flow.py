"""Flows are what they claim: bijections with the right log-determinant, densities with mass one."""

from math import log, prod

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genmodels.capabilities import Encodes, HasLikelihood, HasLoss, Samples, can, why_not
from genmodels.context import NO_CONTEXT, Context, Sizes
from genmodels.errors import UserError
from genmodels.models.flow import Flow
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.nn.flows.coupling import ChannelAffine, Coupling
from genmodels.nn.flows.coupling_net import CouplingNet
from genmodels.nn.flows.logit import Logit
from genmodels.nn.flows.multiscale import Split, Squeezed, squeeze, unsqueeze
from genmodels.nn.flows.partitions import channel_mask, checkerboard_mask
from genmodels.nn.flows.planar import PlanarMap
from genmodels.nn.flows.realnvp import RealNVP, affine_coupling
from genmodels.parts.densities import Density, StandardNormal
from genmodels.parts.dequantization import Dequantized, Uniform
from genmodels.parts.spaces import Standardized
from genmodels.samplers.direct import Direct
from genmodels.seeds import GLOBAL, ByNumber, Random
from genmodels.units import bits_per_dim
from tests.bijection_checks import as_they_are, check_inverse, check_ladj, check_samples_apart, flow_of, randomised
from tests.helpers import build_model

IMAGE = (2, 4, 4)
UNTOLD: Sizes = {}


class PointNet(nn.Module):
    """(b, d) -> (b, 2d)."""

    def __init__(self, d: int, width: int):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(d, width), nn.Tanh(), nn.Linear(width, 2 * d))

    def forward(self, x: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        return self.body(x)


class UniformCube(Density):
    """1 on [0, 1]^d."""

    def log_prob(self, z: Tensor) -> Tensor:
        return torch.where(((z >= 0) & (z <= 1)).flatten(1).all(1), 0.0, -torch.inf)

    def sample(self, n: int, rng: Random = GLOBAL, temperature: float = 1.0) -> Tensor:
        return rng.uniform((n, *IMAGE), torch.device("cpu"))


def coupling(mask: Tensor, context: Sizes = UNTOLD) -> Coupling:
    net = CouplingNet(channels=len(mask), width=8, blocks=1, dropout=0.0, context=context)
    return affine_coupling(mask, net)


def realnvp(shape: tuple[int, ...] = IMAGE, multipliers: tuple[int, ...] = (2, 1), context: Sizes = UNTOLD) -> RealNVP:
    return RealNVP(shape=shape, width=4, multipliers=multipliers, couplings=2, blocks=1, dropout=0.0, context=context)


def point_flow(d: int) -> Flow:
    steps: dict[str, Bijection] = {}
    for i in range(4):
        steps[f"coupling{i}"] = affine_coupling(checkerboard_mask((d,), i % 2), PointNet(d, 16))
        steps[f"affine{i}"] = ChannelAffine(shape=(d,))
    return randomised(flow_of(as_they_are(d), StandardNormal(shape=(d,)), **steps), 0.4)


def integers(shape: tuple[int, ...], levels: int | None) -> Dequantized:
    return Dequantized(shape=shape, levels=levels, noise=Uniform())


def image_flow(shape: tuple[int, ...], levels: int, alpha: float = 0.05, **kwargs) -> Flow:
    steps = {"logit": Logit(alpha=alpha), "realnvp": realnvp(shape, **kwargs)}
    return flow_of(integers(shape, levels), StandardNormal(shape=shape), **steps)


def vectors(labels: Tensor, dtype: torch.dtype = torch.float64) -> Context:
    """Labels 0..2 as a context."""
    return Context(vector=one_hot(labels, 3).to(dtype))


def from_yaml(*overrides: str, **facts) -> Flow:
    return build_model("realnvp", *overrides, **facts).eval()


BIJECTIONS = {
    "empty chain": lambda: Chain([]),
    "logit": lambda: Logit(alpha=0.05),
    "channel affine": lambda: ChannelAffine(shape=IMAGE),
    "checkerboard coupling": lambda: coupling(checkerboard_mask(IMAGE, 0)),
    "channel coupling": lambda: coupling(channel_mask(IMAGE, 1)),
    "squeezed": lambda: Squeezed(inner=coupling(checkerboard_mask((8, 2, 2), 1))),
    "split": lambda: Split(inner=coupling(checkerboard_mask((1, 4, 4), 0))),
    "realnvp": realnvp,
    "realnvp, conditional": lambda: realnvp(context={"vector": 3}),
}
bijections = pytest.mark.parametrize("build", BIJECTIONS.values(), ids=BIJECTIONS)


@bijections
def test_ladj_is_the_numerical_jacobian(build):
    x = torch.rand(1, *IMAGE, dtype=torch.float64)  # in (0, 1), where the logit lives too
    check_ladj(randomised(build()).double(), x, vectors(torch.tensor([2])))


@bijections
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_inverse_is_exact(build, dtype, error):
    x = torch.rand(16, *IMAGE, dtype=dtype)
    check_inverse(randomised(build()).to(dtype), x, vectors(torch.arange(16) % 3, dtype), error)


@bijections
def test_samples_do_not_touch_each_other(build):
    x = torch.rand(6, *IMAGE, dtype=torch.float64)
    check_samples_apart(randomised(build()).double(), x, vectors(torch.arange(6) % 3))


def test_masks_are_halves_and_complements():
    for mask in (checkerboard_mask, channel_mask):
        assert (mask(IMAGE, 0) + mask(IMAGE, 1) == 1).all()
    assert checkerboard_mask((1, 2, 3), 0).tolist() == [[[0, 1, 0], [1, 0, 1]]]
    assert channel_mask((4, 1, 1), 0).flatten().tolist() == [1, 1, 0, 0]


def test_squeeze_groups_by_position():
    x = torch.arange(2 * 16.0).view(1, 2, 4, 4)
    assert squeeze(x)[0, :, 0, 0].tolist() == [0, 16, 1, 17, 4, 20, 5, 21]
    assert torch.equal(unsqueeze(squeeze(x)), x)


def test_couplings_start_as_the_identity():
    x = torch.randn(4, *IMAGE)
    z, ladj = realnvp()(x)
    assert torch.equal(z, x) and torch.equal(ladj, torch.zeros(4))


def test_density_of_points_integrates_to_one():
    flow, n, edge = point_flow(2).double(), 400, 12.0
    assert flow.bound == "exact"
    side = torch.linspace(-edge, edge, n, dtype=torch.float64)
    mass = flow.log_prob(torch.cartesian_prod(side, side)).exp().sum() * (2 * edge / (n - 1)) ** 2
    assert abs(mass - 1) < 1e-3


def test_points_keep_their_type():
    flow = point_flow(3)
    x = flow.sample(50)
    assert x.shape == (50, 3) and x.dtype == torch.float32
    torch.testing.assert_close(flow.decode(flow.encode(x)), x, rtol=1e-4, atol=1e-4)


def test_probabilities_of_all_images_sum_to_one():
    """P(x) = E_u p(x, u) over all 16 images of 2x2 bits, each expectation by 4,000 draws of `log_prob`."""
    flow = randomised(image_flow((1, 2, 2), levels=2, alpha=1e-6, multipliers=(1,)))
    assert flow.bound == "elbo"
    bits = torch.tensor([0, 1], dtype=torch.uint8)
    images = torch.cartesian_prod(bits, bits, bits, bits).view(16, 1, 2, 2)
    p = flow.log_prob(images.repeat(4000, 1, 1, 1)).double().exp().view(4000, 16)
    total, error = p.sum(1).mean(), p.sum(1).std() / 4000**0.5
    assert error < 0.02 and abs(total - 1) < 4 * error
    drawn = flow.sample(20000).flatten(1).long() @ torch.tensor([8, 4, 2, 1])  # and `sample` draws from this P
    frequency = torch.bincount(drawn, minlength=16) / 20000
    torch.testing.assert_close(frequency.double(), p.mean(0), rtol=0, atol=0.02)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_uniform_density_has_log2_levels_bits_per_dim(levels):
    x = torch.randint(levels, (8, *IMAGE), dtype=torch.uint8)
    flow = flow_of(integers(IMAGE, levels), UniformCube())
    bits = bits_per_dim(-flow.log_prob(x), prod(IMAGE))
    torch.testing.assert_close(bits, torch.full((8,), log(levels, 2)), rtol=1e-6, atol=0)
    assert torch.equal(flow.decode(flow.encode(x)), x)


@pytest.mark.parametrize(("shape", "levels"), [((1, 8, 8), 17), ((3, 8, 8), 256), ((1, 28, 28), 256)])
def test_codes_give_back_the_integers(shape, levels):
    flow = randomised(
        from_yaml(
            "model.bijections.realnvp.width=8",
            "model.bijections.realnvp.multipliers=[1,1,1]",
            shape=shape,
            levels=levels,
        ),
        0.05,
    )
    x = torch.randint(levels, (4, *shape), dtype=torch.uint8)
    z = flow.encode(x)
    assert z.shape == x.shape and z.dtype == torch.float32 and z.std() > 0.1
    assert torch.equal(flow.decode(z), x)
    torch.testing.assert_close(flow.encode(x), z)


def test_labels_change_the_density():
    flow = randomised(from_yaml("model/conditioner=label", shape=(1, 8, 8)))
    x = torch.randint(17, (4, 1, 8, 8), dtype=torch.uint8)
    scores, samples = [], []
    for label in (0, 1):
        torch.manual_seed(0)
        condition = {"label": torch.full((4,), label)}
        scores.append(flow.log_prob(x, condition))
        samples.append(flow.sample(4, condition))
        assert torch.equal(flow.decode(flow.encode(x, condition), condition), x)
    assert (scores[0] - scores[1]).abs().min() > 1e-3 and not torch.equal(*samples)
    with pytest.raises(UserError, match="label"):
        flow.log_prob(x)


def test_terms_add_up():
    flow = randomised(from_yaml())
    terms = flow.loss(torch.randint(17, (4, 1, 8, 8), dtype=torch.uint8))
    torch.testing.assert_close(terms["loss"], -(terms["base"] + terms["ladj"]))


def test_large_weights_sample_without_nan():
    flow = randomised(
        from_yaml(
            "model.bijections.realnvp.width=8",
            "model.bijections.realnvp.multipliers=[1,1,1]",
            shape=(3, 8, 8),
            levels=256,
        ),
        1.0,
    )
    z = flow.base.sample(64)
    u = flow.f.inverse(z)
    assert u.isfinite().all() and flow.decode(z).unique().numel() > 1


def test_bijections_stay_in_float32_under_autocast():
    flow = randomised(from_yaml(), 0.05)
    x = torch.randint(17, (8, 1, 8, 8), dtype=torch.uint8)
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
        (lambda: realnvp((1, 6, 6), multipliers=(1, 1, 1)), "6x6"),
        (lambda: realnvp((1, 4, 4), multipliers=(1, 1, 1)), "one pixel"),
        (lambda: integers(IMAGE, None), "continuous"),
        (lambda: Standardized(shape=IMAGE, levels=17, mean=0.0, std=1.0), "expected real numbers"),
        (lambda: Standardized(shape=IMAGE, levels=None, mean=0.0, std=0.0), "std is 0.0"),
        (lambda: realnvp(context={"maps": 2}), "RealNVP takes vector of a condition"),
        (lambda: Logit(alpha=0.5), "alpha"),
    ],
)
def test_bad_settings_are_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()


# What a flow can do


def test_several_draws_are_independent_draws_of_the_bound():
    flow = randomised(
        from_yaml(
            "model/conditioner=label", "model.bijections.realnvp.width=8", "model.bijections.realnvp.multipliers=[1,1]"
        ),
        0.1,
    )
    x, label = torch.randint(17, (5, 1, 8, 8), dtype=torch.uint8), torch.arange(5)
    torch.manual_seed(0)
    draws = flow.log_prob(x, {"label": label}, draws=3)
    torch.manual_seed(0)
    one_by_one = flow.log_prob(x.repeat(3, 1, 1, 1), {"label": label.repeat(3)})
    torch.testing.assert_close(draws, one_by_one.view(3, 5))
    assert (draws[0] - draws[1]).abs().min() > 1e-3 and (draws[1] - draws[2]).abs().min() > 1e-3


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_temperature_scales_the_noise(temperature):
    flow = point_flow(3)
    plain = flow.sample(4000, rng=ByNumber(0, 0, 4000))
    flow.use(Direct(temperature=temperature, truncation=None))
    cooled = flow.sample(4000, rng=ByNumber(0, 0, 4000))
    torch.testing.assert_close(flow.encode(cooled), temperature * flow.encode(plain), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(flow.encode(cooled).std(0), torch.full((3,), temperature), rtol=0.05, atol=0)
    assert flow.sampling_protocol() == {
        "sampler": "direct",
        "sampler_temperature": temperature,
        "sampler_truncation": None,
    }


def test_truncation_means_nothing_to_a_flow():
    with pytest.raises(UserError, match="sampler.truncation=1.0 means nothing to Flow"):
        point_flow(2).use(Direct(temperature=1.0, truncation=1.0))


def test_a_flow_without_inverse_scores_and_does_not_sample():
    flow = flow_of(
        as_they_are(2), StandardNormal(shape=(2,)), first=ChannelAffine(shape=(2,)), rest=Chain([PlanarMap(d=2)])
    )
    for capability in (Samples, Encodes):
        assert why_not(flow, capability) == "its bijection PlanarMap has no closed inverse"
    assert can(flow, HasLikelihood) and can(flow, HasLoss) and can(point_flow(2), Samples)
    with pytest.raises(UserError, match="PlanarMap has no closed inverse"):
        flow.sample(2)
    n, edge = 400, 8.0
    side = torch.linspace(-edge, edge, n)
    mass = flow.log_prob(torch.cartesian_prod(side, side)).exp().sum() * (2 * edge / (n - 1)) ** 2
    assert abs(mass - 1) < 1e-3
