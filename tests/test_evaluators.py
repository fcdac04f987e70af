"""Metrics against reference implementations and closed forms, and the evaluators' bookkeeping."""

import hashlib
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from genmodels.capabilities import NO_CONDITION, HasLikelihood, Sampler, Samples
from genmodels.errors import Fault, UserError
from genmodels.evaluators.dataset import picture_levels
from genmodels.evaluators.evaluate import applicable, evaluate_model, not_applicable
from genmodels.evaluators.features.base import Extracted, Features
from genmodels.evaluators.metrics.fid import FID
from genmodels.evaluators.metrics.inception_score import InceptionScore
from genmodels.evaluators.metrics.likelihood import Likelihood
from genmodels.evaluators.results import Record, short_count
from genmodels.evaluators.subject import Subject
from genmodels.fields import Field, label
from genmodels.seeds import GLOBAL

CPU = torch.device("cpu")
CONFIGS = Path(__file__).parents[1] / "configs" / "evaluator"


class FakeData:
    """Random images (n, 1, 4, 4) with 17 levels and 3 labels."""

    name = "fake"
    shape = (1, 4, 4)
    classes = 3
    prepared = None

    def __init__(self, n=203, levels=17, shape=(1, 4, 4)):
        g = torch.Generator().manual_seed(0)
        self.levels, self.shape = levels, shape
        self.x = Field("points" if levels is None else "image", shape, levels)
        self.condition = label(self.classes)
        self.samples = torch.randint(17, (n, *shape), generator=g).to(torch.uint8)
        self.labels = torch.randint(3, (n,), generator=g)

    def split(self, name):
        return self.samples, {"label": self.labels}

    def fingerprint(self, split):
        return hashlib.sha256(self.samples.numpy().tobytes()).hexdigest()


class Flat(Features):
    """The pixels themselves as features, the first three as logits."""

    name = "flat"
    resize = "none"
    dim, classes, sha256, facts = 16, 3, "0", {}

    def prepare(self, data, device):
        self.sha256 = "prepared"

    def forward(self, pixels):
        f = pixels.flatten(1).float() / 255
        return Extracted(f, f[:, :3])


class Model(nn.Module, HasLikelihood, Samples):
    """Uniform over the levels; or, given `log_prob`, with a noisy bound."""

    def __init__(self, bound="exact", noise=0.0, levels=17, dtype=torch.float64):
        super().__init__()
        self.bound, self.noise, self.levels, self.dtype = bound, noise, levels, dtype

    def log_prob(self, x, condition=NO_CONDITION, *, draws=None):
        shape = (len(x),) if draws is None else (draws, len(x))
        nats = torch.full(shape, -x[0].numel() * math.log(self.levels), dtype=self.dtype)
        return nats + self.noise * torch.randn(shape)

    def sample(self, n, condition=NO_CONDITION, rng=GLOBAL):
        return (rng.uniform((n, 1, 4, 4), CPU) * self.levels).to(torch.uint8)


class Drawing(nn.Module, Samples):
    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def sample(self, n, condition=NO_CONDITION, rng=GLOBAL):
        return self.draw(n)


def run(model, evaluators, data=None, **changes):
    settings = dict(split="test", features=Flat(), seed=0, batch_size=50, weights="raw", device=CPU) | changes
    return {r.metric: r for r in evaluate_model(model, evaluators, data=data or FakeData(), **settings)}


def likelihood(draws=1, max_samples=None, batch=64):
    return {"likelihood": Likelihood(draws=draws, max_samples=max_samples, batch=batch, save=None)}


def fid(n):
    return FID(n=n, reference="train", extrapolate=None)


# Likelihood


def test_uniform_model_has_exactly_log2_levels_bits_per_dim():
    for levels in (2, 17, 256):
        records = run(Model(levels=levels), likelihood(), FakeData(levels=levels))
        assert records["bits_per_dim"].value == pytest.approx(math.log2(levels), abs=1e-12)
        assert records["bits_per_dim"].protocol["standard_error"] < 1e-6
        assert records["nll_nats"].value == pytest.approx(16 * math.log(levels), abs=1e-11)


def test_continuous_data_has_no_bits_per_dim():
    evaluator = likelihood()["likelihood"]
    assert list(run(Model(), {"likelihood": evaluator}, FakeData(levels=None))) == ["nll_nats"]
    assert evaluator.metrics(Subject(model=Model(), data=FakeData(levels=None)), "")[0] == "nll_nats"
    assert evaluator.metrics(Subject(model=Model(), data=FakeData()), "")[0] == "bits_per_dim"


class Latent(nn.Module, HasLikelihood):
    """z in {0, 1, 2} with prior p(z), x in {0..3} with p(x|z), and a wrong q(z) that does not see x."""

    bound = "elbo"
    prior = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    q = torch.tensor([0.4, 0.3, 0.3], dtype=torch.float64)
    given = torch.tensor(
        [[0.7, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.4, 0.1]], dtype=torch.float64
    )  # (z, x)

    def log_prob(self, x, condition=NO_CONDITION, *, draws=None):
        z = torch.multinomial(self.q, (draws or 1) * len(x), replacement=True).view(-1, len(x))
        w = (self.prior[z] * self.given[z, x.flatten().long().expand_as(z)] / self.q[z]).log()
        return w[0] if draws is None else w


def test_importance_bound_approaches_the_exact_marginal_from_above_and_the_elbo_is_looser():
    data = FakeData(n=4, levels=4, shape=(1, 1, 1))
    data.samples = torch.arange(4).to(torch.uint8).view(4, 1, 1, 1)
    model, x = Latent(), torch.arange(4)
    exact = -(model.prior @ model.given).log().mean().item()
    log_w = (model.prior[:, None] * model.given / model.q[:, None]).log()[:, x]
    elbo = (model.q @ log_w).mean().item()

    records = run(model, likelihood(draws=20_000, batch=1000), data)
    assert records["nll_nats"].value == pytest.approx(exact, abs=0.01)
    assert records["elbo_nats"].value == pytest.approx(elbo, abs=0.02)
    assert -records["elbo_nats"].value > records["nll_nats"].value + 0.1
    assert records["nll_nats"].protocol | {"bound": "iwae", "draws": 20_000} == records["nll_nats"].protocol
    assert records["elbo_nats"].protocol["bound"] == "elbo"


@pytest.mark.parametrize("bound", ["vlb", "pf_ode"])
def test_draws_of_other_bounds_are_averaged(bound):
    records = run(Model(bound, noise=3.0), likelihood(draws=200), FakeData(n=100))
    assert records["nll_nats"].value == pytest.approx(16 * math.log(17), abs=0.1)  # a log-mean-exp is 4.5 nats less
    assert records["nll_nats"].protocol["bound"] == bound
    assert "elbo_nats" not in records


def test_one_draw_of_an_elbo_is_called_an_elbo():
    records = run(Model("elbo", noise=1.0), likelihood())
    assert list(records) == ["bits_per_dim", "nll_nats"]
    assert records["nll_nats"].protocol["bound"] == "elbo"


class ByContent(Model):
    condition = label(3)

    def log_prob(self, x, condition=NO_CONDITION, *, draws=None):
        return -x.double().flatten(1).sum(1) - condition["label"]


def test_likelihood_of_a_deterministic_model_is_the_mean_whatever_the_batch_size():
    data = FakeData()
    values = -ByContent().log_prob(data.samples, {"label": data.labels})
    for batch in (1, 64, 203, 1000):
        record = run(ByContent(), likelihood(batch=batch))["conditional_nll_nats"]
        assert record.value == pytest.approx(values.mean().item(), rel=1e-13)
        assert record.protocol["standard_error"] == pytest.approx(values.std().item() / 203**0.5, rel=1e-9)
    first = run(ByContent(), likelihood(max_samples=5))["conditional_nll_nats"]
    assert first.value == pytest.approx(values[:5].mean().item()) and first.protocol["n_reference"] == 5


class Counted(Model):
    def log_prob(self, x, condition=NO_CONDITION, *, draws=None):
        self.seen = [*getattr(self, "seen", []), (draws, len(x))]
        return super().log_prob(x, draws=draws)


def test_draws_go_through_the_model_in_chunks_no_larger_than_a_batch():
    model = Counted("elbo")
    run(model, likelihood(draws=7, batch=64), FakeData(n=20))
    assert model.seen == [(3, 20), (3, 20), (1, 20)]


def test_an_exact_likelihood_is_scored_once_whatever_the_draws():
    model = Counted()
    record = run(model, likelihood(draws=7, batch=64), FakeData(n=20))["nll_nats"]
    assert model.seen == [(None, 20)] and record.protocol["draws"] == 1
    one = Counted("elbo")
    run(one, likelihood(batch=64), FakeData(n=20))
    assert one.seen == [(None, 20)]


def test_results_do_not_depend_on_the_global_random_state_nor_change_it():
    evaluators = likelihood() | {"fid": fid(60)}
    torch.manual_seed(1)
    first, state = run(Model("elbo", noise=1.0), evaluators), torch.get_rng_state()
    torch.manual_seed(2)
    second = run(Model("elbo", noise=1.0), evaluators)
    assert first == second
    assert first != run(Model("elbo", noise=1.0), evaluators, seed=1)
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


# The pass over samples


def test_sample_metrics_share_one_pass_and_the_first_samples():
    drawn = Counter()

    def draw(n):
        drawn["images"] += n
        return torch.randint(17, (n, 1, 4, 4)).to(torch.uint8)

    both = {"fid": fid(120), "inception_score": InceptionScore(n=70, splits=2)}
    records = run(Drawing(draw), both)
    assert list(records) == ["fid_flat_120", "inception_score_flat_70"]
    assert drawn["images"] == 120
    alone = run(Drawing(draw), {"inception_score": both["inception_score"]})
    assert alone["inception_score_flat_70"] == records["inception_score_flat_70"]


def test_protocol_of_a_sample_metric():
    record = run(Model(), {"fid": fid(60)}, weights="ema", seed=3)["fid_flat_60"]
    assert record.key == "test/fid_flat_60" and record.std is None
    assert record.protocol == {
        "n_generated": 60,
        "n_reference": 203,
        "reference": "fake/train",
        "reference_fingerprint": FakeData().fingerprint("train"),
        "features": "flat",
        "features_sha256": "prepared",
        "resize": "none",
        "noise": "mt19937",
        "weights": "ema",
        "seed": 3,
        "dtype": "float32",
        "world_size": 1,
    }
    assert Record.from_dict(record.to_dict()) == record


class Steps(Sampler):
    def protocol(self):
        return {"sampler": "steps", "sampler_steps": 20}


class Conditional(Drawing):
    condition = label(3)
    sampler = Steps()


def test_protocol_names_the_sampler_and_where_the_conditions_are_from():
    protocol = run(Conditional(Model().sample), {"fid": fid(60)})["fid_flat_60"].protocol
    said = {"sampler": "steps", "sampler_steps": 20, "conditions": "label of fake/train, permuted by seed 0"}
    assert protocol | said == protocol


def test_too_few_samples_for_the_dimensions_are_remarked_upon():
    assert "rank-deficient" in run(Model(), {"fid": fid(16)})["fid_flat_16"].protocol["note"]
    assert "note" not in run(Model(), {"fid": fid(17)})["fid_flat_17"].protocol


def test_evaluators_a_model_cannot_answer_are_left_out():
    evaluators = likelihood() | {"fid": fid(20)}
    assert list(applicable(Drawing(None), evaluators, FakeData())) == ["fid"]
    assert list(applicable(Latent(), evaluators, FakeData())) == ["likelihood"]
    assert list(run(Latent(), {"fid": evaluators["fid"]}, features=None)) == []
    assert list(applicable(Model(), evaluators, FakeData(levels=None))) == ["likelihood"]
    assert not_applicable(Latent(), evaluators, FakeData()) == {"fid": "Latent draws no samples"}
    assert not_applicable(Model(), evaluators, FakeData(levels=None)) == {
        "fid": "fake has no images of integers, but points [1, 4, 4] of real"
    }
    assert list(run(Model(), evaluators, FakeData(levels=None))) == ["nll_nats"]


def test_names_and_directions():
    assert [short_count(n) for n in (500, 1000, 1797, 2000, 50_000)] == ["500", "1k", "1797", "2k", "50k"]
    distance, score = fid(1000), InceptionScore(n=50_000, splits=10)
    subject = Subject(model=Model(), data=FakeData())
    assert (distance.metrics(subject, "classifier")[0], distance.mode) == ("fid_classifier_1k", "min")
    assert (score.metrics(subject, "")[0], score.mode) == ("inception_score_50k", "max")
    assert {m: r.mode for m, r in run(Model("elbo", noise=1), likelihood(draws=2) | {"fid": fid(20)}).items()} == {
        "bits_per_dim": "min",
        "nll_nats": "min",
        "elbo_nats": "max",
        "fid_flat_20": "min",
    }


def test_progress_ends_at_the_total():
    steps = []
    run(Model(), likelihood() | {"fid": fid(60)}, progress=lambda *step: steps.append(step))
    assert {stage: (done, total) for stage, done, total in steps if stage != "reference"} == {
        "likelihood": (203, 203),
        "samples": (60, 60),
        "fid": (1, 1),
    }


@pytest.mark.parametrize("name", [file.stem for file in CONFIGS.glob("*.yaml")])
def test_config_builds_the_evaluator(name):
    path = CONFIGS / f"{name}.yaml"
    assert path.read_text().startswith(f"# @package evaluator.{name}\n# ")
    assert instantiate(OmegaConf.load(path)).mode in ("min", "max")


# Bad input


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda n: torch.rand(n, 1, 4, 4), "float32.*expected uint8"),
        (lambda n: torch.zeros(n, 1, 5, 5, dtype=torch.uint8), r"shape \(1, 5, 5\), expected"),
        (lambda n: torch.full((n, 1, 4, 4), 255, dtype=torch.uint8), r"reach 255, expected 0\.\.16"),
    ],
)
def test_samples_in_other_units_are_refused(draw, message):
    with pytest.raises(UserError, match=message):
        run(Drawing(draw), {"fid": fid(20)})


@pytest.mark.parametrize("metric", [fid(1), InceptionScore(n=1, splits=1)])
def test_fewer_than_two_samples_are_refused(metric):
    with pytest.raises(UserError, match="got 1 generated samples"):
        run(Model(), {"metric": metric})


def test_a_reference_of_one_image_more_splits_than_samples_and_data_that_are_no_images_are_refused():
    with pytest.raises(UserError, match="got 1 images in fake/train"):
        run(Model(), {"fid": fid(20)}, FakeData(n=1))
    with pytest.raises(UserError, match="splits=10 for 5 samples"):
        run(Model(), {"inception_score": InceptionScore(n=5, splits=10)})
    with pytest.raises(UserError, match=r"choose evaluator=\[likelihood\]"):
        picture_levels(FakeData(levels=None))
    with pytest.raises(UserError, match="choose features=classifier"):
        run(Model(), {"fid": fid(20)}, features=None)
    with pytest.raises(UserError, match="no samples in its test split"):
        run(Model(), likelihood(), FakeData(n=0))


class Broken(Flat):
    def forward(self, pixels):
        return Extracted(pixels.flatten(1).float() / 0, pixels.flatten(1)[:, :3].float())


class Empty(Flat):
    def forward(self, pixels):
        return Extracted(pixels.flatten(1)[:, :0].float(), pixels.flatten(1)[:, :3].float())


class Lost(Model):
    def log_prob(self, x, condition=NO_CONDITION, *, draws=None):
        return torch.full((len(x),), torch.nan)


def test_features_of_no_dimensions_are_refused():
    with pytest.raises(UserError, match="features=flat gave features of no dimensions, expected at least 1"):
        run(Model(), {"fid": fid(20)}, features=Empty())


def test_nan_is_refused():
    with pytest.raises(UserError, match="features=flat gave NaN"):
        run(Model(), {"fid": fid(20)}, features=Broken())
    with pytest.raises(Fault, match="log_prob gave NaN for samples 0 to 63"):
        run(Lost(), likelihood())


class Summed(Model):
    """One number for all samples, as somebody may give who averages by habit."""

    def log_prob(self, x, condition=NO_CONDITION, *, draws=None):
        return super().log_prob(x, condition, draws=draws).sum(-1)


@pytest.mark.parametrize("draws", [1, 3])
def test_a_log_prob_of_another_shape_is_refused(draws):
    found, right = (r"\[\]", r"\[20\]") if draws == 1 else (r"\[3\]", r"\[3, 20\]")
    with pytest.raises(UserError, match=f"log_prob gave values of shape {found}, expected {right}"):
        run(Summed("elbo"), likelihood(draws=draws), FakeData(n=20))
