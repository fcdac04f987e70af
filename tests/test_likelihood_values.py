"""What the likelihood evaluator saves and says beside its mean: values of every sample, protocol, memory."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from genmodels.capabilities import NO_CONDITION, HasLikelihood
from genmodels.errors import UserError
from genmodels.evaluators.evaluate import silent
from genmodels.evaluators.metrics.likelihood import Likelihood
from genmodels.evaluators.shown import NOTHING
from genmodels.evaluators.subject import Procedure, Subject
from genmodels.fields import Field, label
from genmodels.seeds import seeded
from tests.helpers import compose_model

CPU = torch.device("cpu")


class Bound(nn.Module, HasLikelihood):
    """log p(x) = -(sum of x), or a noisy bound on it; remembers how much it was given at once."""

    def __init__(self, bound="exact", noise=0.0):
        super().__init__()
        self.bound, self.noise, self.seen = bound, noise, []

    def log_prob(self, x, condition=NO_CONDITION, *, draws=None):
        self.seen.append((draws or 1) * len(x))
        shape = (len(x),) if draws is None else (draws, len(x))
        return -x.double().flatten(1).sum(1) + self.noise * torch.randn(shape)


def data(n=203, levels=17):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randint(17, (n, 1, 4, 4), generator=g, dtype=torch.uint8), torch.randint(3, (n,), generator=g)
    facts = {"name": "fake", "shape": (1, 4, 4), "levels": levels, "classes": 3, "prepared": None}
    facts |= {"x": Field("image", (1, 4, 4), levels), "condition": label(3)}
    return SimpleNamespace(**facts, split=lambda _: (x, {"label": y}), fingerprint=lambda _: "f")


def measure(model, of=None, **settings):
    evaluator = Likelihood(**({"draws": 1, "max_samples": None, "batch": 50, "save": None} | settings))
    how = Procedure(seed=0, device=CPU, precision="32-true", batch=50, progress=silent, show=NOTHING)
    return evaluator.measure(Subject(model=model, data=of or data()), how)


def test_values_of_every_sample_are_saved_in_the_splits_order(tmp_path):
    file, of = tmp_path / "new" / "values.npz", data()
    bits, nats = measure(Bound(), of, save=str(file))
    with np.load(file) as saved:
        x, condition = of.split("test")
        np.testing.assert_allclose(saved["nll_nats"], x.flatten(1).sum(1), rtol=1e-14)
        np.testing.assert_allclose(saved["bits_per_dim"], saved["nll_nats"] / (16 * math.log(2)))
        assert saved["index"].tolist() == list(range(203)) and saved["y"].tolist() == condition["label"].tolist()
        assert (saved["nll_nats"].mean(), saved["bits_per_dim"].mean()) == pytest.approx((nats.value, bits.value))
        error = saved["nll_nats"].std(ddof=1) / 203**0.5
        assert nats.protocol["standard_error"] == pytest.approx(error)
        protocol = json.loads(str(saved["protocol"]))
    assert protocol == {"reference": "fake/test", "n_reference": 203, "reference_fingerprint": "f"} | {
        "bound": "exact",
        "draws": 1,
        "seed": 0,
    }
    assert list(file.parent.iterdir()) == [file]


def test_saved_values_of_an_importance_bound_have_the_elbo_beside_them(tmp_path):
    file = tmp_path / "values.npz"
    nats, elbo = measure(Bound("elbo", noise=1.0), data(levels=None), draws=50, max_samples=7, save=str(file))
    assert (nats.metric, elbo.metric) == ("nll_nats", "elbo_nats")
    with np.load(file) as saved:
        assert set(saved) == {"nll_nats", "elbo_nats", "index", "y", "protocol"}
        assert len(saved["y"]) == len(saved["index"]) == 7
        assert (saved["elbo_nats"] < -saved["nll_nats"]).all()  # sample by sample: log-mean-exp is above the mean
        assert saved["elbo_nats"].mean() == pytest.approx(elbo.value)


def test_many_draws_never_exceed_a_batch():
    model = Bound("elbo", noise=1.0)
    measure(model, data(n=7), draws=5000, batch=64)
    assert max(model.seen) <= 64 and sum(model.seen) == 7 * 5000
    model = Bound("elbo", noise=1.0)
    measure(model, data(n=130), draws=3, batch=64)
    assert model.seen == [64] * 6 + [6]


def test_random_numbers_are_named_where_there_are_any():
    assert "seeded" not in measure(Bound("exact"))[0].protocol
    assert measure(Bound("vlb"), batch=40)[0].protocol["seeded"] == "per batch of 40"


class ODE(Bound):
    def likelihood_protocol(self):
        return {"solver": "dopri5", "tolerance": 1e-5}


def test_a_model_adds_to_the_protocol():
    for record in measure(ODE("pf_ode")):
        assert record.protocol | {"bound": "pf_ode", "solver": "dopri5", "tolerance": 1e-5} == record.protocol


@pytest.mark.parametrize(("name", "expected"), [("realnvp", {"dequantization": "uniform"}), ("pixelcnn", {})])
def test_dequantization_is_in_the_protocol_of_a_model_that_dequantizes(name, expected):
    overrides = {"realnvp": ["model.bijections.realnvp.width=4", "model.bijections.realnvp.multipliers=[1,1]"], "pixelcnn": ["model.network.width=4"]}[name]
    with seeded(0):
        model = instantiate(compose_model(name, *overrides, shape=(1, 4, 4)).model, _convert_="all").eval()
    protocol = measure(model, data(n=3))[0].protocol
    assert {key: value for key, value in protocol.items() if key == "dequantization"} == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": 0}, "draws=0, batch=50 and max_samples=None, expected at least 1"),
        ({"batch": 0}, "batch=0"),
        ({"save": "values.txt"}, r"save=values.txt, expected a file that ends in \.npz"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        measure(Bound(), **settings)


def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "values.npz"
    with pytest.raises(UserError, match="cannot be used, since .*file is a file"):
        Likelihood(draws=1, max_samples=None, batch=50, save=str(place)).check(Subject(model=Bound(), data=data()))
