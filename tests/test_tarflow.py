"""TarFlow: each patch is changed by what its Transformer says of the patches before it."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genmodels.context import NO_CONTEXT, Context, Sizes
from genmodels.errors import UserError
from genmodels.models.flow import Flow
from genmodels.nn.flows.centred import Centred
from genmodels.nn.flows.tarflow import PatchBlock, TarFlow
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

IMAGE, PATCHES = (2, 4, 4), (5, 3)
UNTOLD: Sizes = {}


def tarflow(shape: tuple[int, ...] = IMAGE, patch: int = 2, context: Sizes = UNTOLD, **changed) -> TarFlow:
    sizes = {"blocks": 2, "layers": 2, "width": 16, "heads": 2, "dropout": 0.0} | changed
    return TarFlow(shape=shape, patch=patch, context=context, **sizes)


def block(backwards: bool = False, context: Sizes = UNTOLD) -> PatchBlock:
    length, d = PATCHES
    return PatchBlock(
        length=length, d=d, backwards=backwards, layers=2, width=16, heads=2, dropout=0.0, context=context
    )


def nothing(n: int, dtype: torch.dtype = torch.float64) -> Context:
    return NO_CONTEXT


def labels(n: int, dtype: torch.dtype = torch.float64) -> Context:
    return Context(vector=one_hot(torch.arange(n) % 3, 3).to(dtype))


BIJECTIONS = {
    "centred": (Centred, IMAGE, nothing),
    "block": (block, PATCHES, nothing),
    "block, backwards": (lambda: block(backwards=True), PATCHES, nothing),
    "tarflow": (tarflow, IMAGE, nothing),
    "tarflow, conditional": (lambda: tarflow(context={"vector": 3}), IMAGE, labels),
}
bijections = pytest.mark.parametrize(("build", "shape", "context"), BIJECTIONS.values(), ids=BIJECTIONS)


@bijections
def test_ladj_is_the_numerical_jacobian(build, shape, context):
    check_ladj(randomised(build()).double(), torch.randn(1, *shape, dtype=torch.float64), context(1))


@bijections
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_inverse_is_exact(build, shape, context, dtype, error):
    f = randomised(build(), 0.1).to(dtype)
    check_inverse(f, torch.randn(16, *shape, dtype=dtype), context(16, dtype), error)


@bijections
def test_samples_do_not_touch_each_other(build, shape, context):
    check_samples_apart(randomised(build()).double(), torch.randn(6, *shape, dtype=torch.float64), context(6))


@bijections
def test_far_away_numbers_come_back(build, shape, context):
    check_far_away(randomised(build(), 0.1).double(), shape, context(1), error=1e-9)


def test_it_starts_as_the_identity():
    x = torch.randn(3, *IMAGE)
    z, ladj = tarflow()(x)
    assert torch.equal(z, x) and torch.equal(ladj, torch.zeros(3))


@pytest.mark.parametrize("backwards", [False, True])
def test_a_patch_sees_those_before_it_alone(backwards):
    """By the Jacobian: z_t = (x_t - mu_t) exp(-alpha_t), so that within a patch it is diagonal."""
    f, (t, d) = randomised(block(backwards)).double(), PATCHES
    x = torch.randn(1, t, d, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: f(x)[0], x).view(t, d, t, d)
    order = list(range(t))[:: -1 if backwards else 1]
    for i, out in enumerate(order):
        for j, at in enumerate(order):
            entry = jacobian[out, :, at]
            if j > i:
                assert torch.equal(entry, torch.zeros(d, d, dtype=torch.float64))
            elif j == i:
                assert torch.equal(entry, entry.diag().diag()) and (entry.diag() > 0).all()
            else:
                assert (entry != 0).all()
    first = order[0]
    assert torch.equal(f(x)[0][:, first], x[:, first]), "nothing comes before the first patch"


@pytest.mark.parametrize("backwards", [False, True])
def test_the_cached_inverse_is_the_naive_one(backwards):
    f = randomised(block(backwards, {"vector": 3})).double().eval()
    z, context = torch.randn(4, *PATCHES, dtype=torch.float64), labels(4)
    torch.testing.assert_close(f.inverse(z, context), naive_inverse(f, z, context), rtol=1e-12, atol=1e-12)


def naive_inverse(f: PatchBlock, z: Tensor, context: Context) -> Tensor:
    """By a full pass of the Transformer for each patch."""
    z = f.ordered(z)
    x = torch.zeros_like(z)
    for t in range(z.shape[1]):
        mu, alpha = f.shifted(x, context)
        x[:, t] = (z * alpha.exp() + mu)[:, t]
    return f.ordered(x)


def test_positions_stay_with_their_places():
    """Blocks of both directions have the same positions at the same place of the image."""
    there, back = block(), block(backwards=True)
    back.load_state_dict(there.state_dict())
    x = torch.zeros(1, *PATCHES)
    h = [f.embedded(f.ordered(x), 0, NO_CONTEXT) for f in (there, back)]
    assert torch.equal(h[0], h[1].flip(1)) and not torch.equal(h[0], h[1])


def test_images_are_cut_and_joined():
    f, x = tarflow((1, 4, 6)), torch.arange(24.0).view(1, 1, 4, 6)
    patches = f.cut(x)
    assert patches.shape == (1, 6, 4) and patches[0, 0].tolist() == [0, 1, 6, 7] and patches[0, 1, 0] == 2
    assert torch.equal(f.joined(patches), x)


def test_a_sequence_of_two_numbers_integrates_to_one():
    f = randomised(tarflow((1, 1, 2), patch=1, blocks=3), 0.1)
    flow = flow_of(as_they_are(1, 1, 2), StandardNormal(shape=(1, 1, 2)), f=f).double()
    n, edge = 300, 12.0
    side = torch.linspace(-edge, edge, n, dtype=torch.float64)
    points = torch.cartesian_prod(side, side).view(-1, 1, 1, 2)
    mass = flow.log_prob(points).exp().sum() * (2 * edge / (n - 1)) ** 2
    assert abs(mass - 1) < 2e-3


def from_yaml(*overrides: str) -> Flow:
    small = ["model.bijections.tarflow.width=16", "model.bijections.tarflow.layers=1"]
    return randomised(build_model("tarflow", *small, *overrides), 0.05).eval()


def digits(n: int) -> Tensor:
    return torch.randint(17, (n, 1, 8, 8), dtype=torch.uint8)


def test_codes_give_back_the_integers():
    flow, x = from_yaml(), digits(8)
    assert torch.equal(flow.decode(flow.encode(x)), x) and flow.bound == "elbo"
    assert flow.sample(3).shape == (3, 1, 8, 8)


def test_the_likelihood_ignores_autocast():
    flow, x = from_yaml(), digits(16)
    torch.manual_seed(0)
    exact = flow.log_prob(x)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(flow.log_prob(x), exact)
        assert torch.equal(flow.decode(flow.encode(x)), x)


def test_labels_change_the_density():
    flow, x = from_yaml("model/conditioner=label"), digits(8)
    codes = [flow.encode(x, {"label": torch.full((8,), label)}) for label in (0, 1)]
    assert not torch.allclose(*codes)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: tarflow((1, 6, 8), patch=4), "images of 6x8 and patches of 4x4, expected at least two"),
        (lambda: tarflow((1, 4, 4), patch=4), "images of 4x4 and patches of 4x4, expected at least two"),
        (lambda: tarflow((5,)), "TarFlow takes images"),
        (lambda: tarflow(heads=3), "width 16 for 3 heads"),
        (lambda: tarflow(context={"maps": 1}), "TarFlow takes vector of a condition"),
    ],
)
def test_bad_settings_are_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()
