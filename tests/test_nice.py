"""NICE: additive couplings of flattened images, a scale at the end, and a logistic base density."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genmodels.context import NO_CONTEXT, Context, Sizes
from genmodels.errors import UserError
from genmodels.models.flow import Flow
from genmodels.nn.flows.flat import Flat
from genmodels.nn.flows.nice import Nice, Scale
from genmodels.nn.flows.partitions import EveryOther
from genmodels.parts.densities import Logistic
from genmodels.seeds import ByNumber, Global
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

IMAGE = (1, 3, 3)  # an odd number of entries
UNTOLD: Sizes = {}


def nice(shape: tuple[int, ...] = IMAGE, context: Sizes = UNTOLD, couplings: int = 4) -> Nice:
    return Nice(shape=shape, couplings=couplings, widths=[16, 16], activation="relu", context=context)


def nothing(n: int, dtype: torch.dtype = torch.float64) -> Context:
    return NO_CONTEXT


def labels(n: int, dtype: torch.dtype = torch.float64) -> Context:
    return Context(vector=one_hot(torch.arange(n) % 3, 3).to(dtype))


BIJECTIONS = {
    "scale": (lambda: Flat(inner=Scale(d=9)), nothing),
    "nice": (nice, nothing),
    "nice, conditional": (lambda: nice(context={"vector": 3}), labels),
}
bijections = pytest.mark.parametrize(("build", "context"), BIJECTIONS.values(), ids=BIJECTIONS)


@bijections
def test_ladj_is_the_numerical_jacobian(build, context):
    check_ladj(randomised(build()).double(), torch.randn(1, *IMAGE, dtype=torch.float64), context(1))


@bijections
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_inverse_is_exact(build, context, dtype, error):
    check_inverse(randomised(build()).to(dtype), torch.randn(16, *IMAGE, dtype=dtype), context(16, dtype), error)


@bijections
def test_samples_do_not_touch_each_other(build, context):
    check_samples_apart(randomised(build()).double(), torch.randn(6, *IMAGE, dtype=torch.float64), context(6))


@bijections
def test_far_away_numbers_come_back(build, context):
    check_far_away(randomised(build()).double(), IMAGE, context(1))


def test_it_starts_as_the_identity():
    x = torch.randn(3, *IMAGE)
    z, ladj = nice()(x)
    assert torch.equal(z, x) and torch.equal(ladj, torch.zeros(3))


@pytest.mark.parametrize("parity", [0, 1])
def test_one_parity_is_kept(parity):
    x, f = torch.arange(5.0)[None], EveryOther(parity=parity)
    assert f.kept(x).tolist() == [[0, 2, 4] if parity == 0 else [1, 3]]
    assert f.joined(x, f.changed(x) + 10).tolist() == [[0, 11, 2, 13, 4] if parity == 0 else [10, 1, 12, 3, 14]]


def test_couplings_change_both_parities_in_turn():
    x, f = torch.randn(4, 9), randomised(nice())
    first, second, *_ = f.inner.steps
    h, _ = first(x)
    assert torch.equal(h[:, ::2], x[:, ::2]) and not torch.isclose(h[:, 1::2], x[:, 1::2]).any()
    assert torch.equal(second(h)[0][:, 1::2], h[:, 1::2]) and not torch.isclose(second(h)[0][:, ::2], h[:, ::2]).any()


# The base density


def test_logistic_integrates_to_one_and_has_its_variance():
    z = torch.linspace(-60, 60, 100_001, dtype=torch.float64)
    p = Logistic(shape=(1,)).log_prob(z[:, None]).exp()
    assert abs(torch.trapezoid(p, z) - 1) < 1e-9
    assert abs(torch.trapezoid(p * z**2, z) - torch.pi**2 / 3) < 1e-9


def test_logistic_samples_have_its_quantiles():
    base = Logistic(shape=(50_000,))
    z = base.sample(2, ByNumber(0, 0, 2))
    for q in (0.1, 0.5, 0.9):
        wanted = torch.tensor(q).logit()
        assert (z.quantile(q, dim=1) - wanted).abs().max() < 0.06
    torch.testing.assert_close(base.sample(2, ByNumber(0, 0, 2), temperature=0.5), 0.5 * z)


class Ends(Global):
    """The least and the greatest uniform draw."""

    def uniform(self, shape, device) -> Tensor:
        return torch.tensor([0.0, 1 - 2**-24]).expand(*shape)


def test_logistic_samples_are_finite():
    assert Logistic(shape=(2,)).sample(1, Ends()).isfinite().all()


# The flow


def test_density_integrates_to_one():
    """Of points, by quadrature."""
    flow = flow_of(as_they_are(2), Logistic(shape=(2,)), nice=randomised(nice((2,)), 0.3)).double()
    n, edge = 401, 60.0
    side = torch.linspace(-edge, edge, n, dtype=torch.float64)
    mass = flow.log_prob(torch.cartesian_prod(side, side)).exp().sum() * (2 * edge / (n - 1)) ** 2
    assert abs(mass - 1) < 2e-3


def from_yaml(*overrides: str) -> Flow:
    return randomised(build_model("nice", "model.bijections.nice.widths=[32,32]", *overrides), 0.05).eval()


def test_codes_give_back_the_integers():
    flow, x = from_yaml(), torch.randint(17, (8, 1, 8, 8), dtype=torch.uint8)
    z = flow.encode(x)
    assert z.shape == x.shape and torch.equal(flow.decode(z), x) and flow.bound == "elbo"
    assert flow.sample(3).shape == (3, 1, 8, 8)


def test_labels_change_the_density():
    flow, x = from_yaml("model/conditioner=label"), torch.randint(17, (8, 1, 8, 8), dtype=torch.uint8)
    codes = [flow.encode(x, {"label": torch.full((8,), label)}) for label in (0, 1)]
    assert not torch.allclose(*codes)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nice((1, 1, 1)), r"\[1, 1, 1\], expected at least 2 entries"),
        (lambda: nice(context={"maps": 1}), "the network of a coupling takes vector of a condition"),
    ],
)
def test_bad_settings_are_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()
