"""Metrics against reference implementations and closed forms, and the evaluators' bookkeeping."""

import hashlib
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from genmodels.capabilities import Denoises, HasLikelihood, Samples
from genmodels.errors import Fault, UserError
from genmodels.evaluators.evaluate import applicable, evaluate
from genmodels.evaluators.features.base import Extracted, Features
from genmodels.evaluators.fid import FID, frechet_distance
from genmodels.evaluators.inception_score import InceptionScore
from genmodels.evaluators.likelihood import Likelihood
from genmodels.evaluators.reference import Reference
from genmodels.evaluators.results import Record, count

CPU = torch.device("cpu")
REFERENCE = np.load(Path(__file__).parent / "fixtures" / "metrics_reference.npz")


class FakeData:
    """Random images (n, 1, 4, 4) with 17 levels and 3 labels."""

    name = "fake"
    shape = (1, 4, 4)
    classes = 3

    def __init__(self, n=203, levels=17, shape=(1, 4, 4)):
        g = torch.Generator().manual_seed(0)
        self.levels, self.shape = levels, shape
        self.x = torch.randint(17, (n, *shape), generator=g).to(torch.uint8)
        self.y = torch.randint(3, (n,), generator=g)

    def split(self, name):
        return self.x, self.y

    def fingerprint(self, split):
        return hashlib.sha256(self.x.numpy().tobytes()).hexdigest()


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

    classes = None

    def __init__(self, bound="exact", noise=0.0, levels=17, dtype=torch.float64):
        super().__init__()
        self.bound, self.noise, self.levels, self.dtype = bound, noise, levels, dtype

    def log_prob(self, x, y=None):
        nats = torch.full((len(x),), -x[0].numel() * math.log(self.levels), dtype=self.dtype)
        return nats + self.noise * torch.randn(len(x))

    def sample(self, n, y=None):
        return torch.randint(self.levels, (n, 1, 4, 4)).to(torch.uint8)


class Sampler(nn.Module, Samples):
    classes = None

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def sample(self, n, y=None):
        return self.draw(n)


def run(model, evaluators, data=None, **changes):
    settings = dict(split="test", features=Flat(), seed=0, batch_size=50, weights="raw", device=CPU) | changes
    return {r.metric: r for r in evaluate(model, evaluators, data=data or FakeData(), **settings)}


def likelihood(draws=1, max_samples=None, batch=64):
    return {"likelihood": Likelihood(draws=draws, max_samples=max_samples, batch=batch)}


def stream(metric, features, logits, batch, order=None):
    """The metric over rows given in batches, in another order where one is given."""
    metric.allocate(features.shape[1], logits.shape[1])
    for i in (order if order is not None else torch.arange(len(features))).split(batch):
        metric.update(features[i], logits[i], i)
    return metric


def reference(f):
    mu, sigma = f.double().mean(0), torch.cov(f.double().T)
    return Reference(name="data/train", fingerprint="0", n=len(f), mu=mu, sigma=sigma)


# Fréchet distance


def test_fid_equals_the_reference_implementation():
    real, fake = (torch.from_numpy(REFERENCE[name]) for name in ("real", "fake"))
    metric = stream(FID(n=len(fake), reference="train"), fake, fake[:, :3], batch=97)
    assert metric.compute(reference(real)).value == pytest.approx(float(REFERENCE["fid"]), rel=1e-6)


@pytest.mark.parametrize("n", [1500, 40])  # full and deficient rank
def test_fid_of_a_set_against_itself_is_zero(n):
    real = torch.from_numpy(REFERENCE["real"])[:n]
    metric = stream(FID(n=n, reference="train"), real, real[:, :3], batch=64)
    assert abs(metric.compute(reference(real)).value) < 1e-6


def test_frechet_distance_of_diagonal_gaussians():
    g = torch.Generator().manual_seed(0)
    mu1, mu2, s1, s2 = torch.rand(4, 5, generator=g, dtype=torch.float64)
    s1[0] = 0  # a direction without variance
    expected = (mu1 - mu2).square().sum() + (s1 - s2).square().sum()
    assert frechet_distance(mu1, s1.square().diag(), mu2, s2.square().diag()) == pytest.approx(float(expected))


def test_frechet_distance_is_symmetric_and_invariant_under_rotation():
    g = torch.Generator().manual_seed(1)
    a, b, c = torch.randn(3, 6, 6, generator=g, dtype=torch.float64)
    q = torch.linalg.qr(c).Q
    mu1, mu2, sigma1, sigma2 = a[0], b[0], a @ a.T, b @ b.T
    d = frechet_distance(mu1, sigma1, mu2, sigma2)
    assert frechet_distance(mu2, sigma2, mu1, sigma1) == pytest.approx(d)
    assert frechet_distance(q @ mu1, q @ sigma1 @ q.T, q @ mu2, q @ sigma2 @ q.T) == pytest.approx(d)


# Inception Score


def test_inception_score_equals_the_reference_implementation_in_any_order():
    logits = torch.from_numpy(REFERENCE["logits"])
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(0))
    score = stream(InceptionScore(n=len(logits), splits=10), logits, logits, 64, order).compute()
    assert score.value == pytest.approx(float(REFERENCE["isc_mean"]), rel=1e-5)
    assert score.std == pytest.approx(float(REFERENCE["isc_std"]), rel=1e-5)


def test_inception_score_of_uniform_probabilities_is_one():
    zeros = torch.zeros(30, 7)
    assert stream(InceptionScore(n=30, splits=3), zeros, zeros, 8).compute().value == pytest.approx(1, abs=1e-12)


def test_inception_score_of_balanced_certain_classes_is_their_number():
    logits = 1000 * torch.eye(7).repeat(6, 1)
    assert stream(InceptionScore(n=42, splits=3), logits, logits, 8).compute().value == pytest.approx(7)


def test_splits_are_consecutive_and_uneven_where_n_does_not_divide():
    logits = torch.zeros(11, 2)
    metric = stream(InceptionScore(n=11, splits=3), logits, logits, 4)
    assert metric.count.tolist() == [3, 4, 4]  # floor(11 s / 3): 0, 3, 7, 11


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
    assert evaluator.primary("", None) == "nll_nats"
    assert evaluator.primary("", 17) == "bits_per_dim"


class Latent(nn.Module, HasLikelihood):
    """z in {0, 1, 2} with prior p(z), x in {0..3} with p(x|z), and a wrong q(z) that does not see x."""

    bound = "elbo"
    prior = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    q = torch.tensor([0.4, 0.3, 0.3], dtype=torch.float64)
    given = torch.tensor(
        [[0.7, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.4, 0.1]], dtype=torch.float64
    )  # (z, x)

    def log_prob(self, x, y=None):
        z = torch.multinomial(self.q, len(x), replacement=True)
        return (self.prior[z] * self.given[z, x.flatten().long()] / self.q[z]).log()


def test_importance_bound_approaches_the_exact_marginal_from_above_and_the_elbo_is_looser():
    data = FakeData(n=4, levels=4, shape=(1, 1, 1))
    data.x = torch.arange(4).to(torch.uint8).view(4, 1, 1, 1)
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


@pytest.mark.parametrize("bound", ["exact", "vlb", "pf_ode"])
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
    def log_prob(self, x, y=None):
        return -x.double().flatten(1).sum(1) - y


def test_likelihood_of_a_deterministic_model_is_the_mean_whatever_the_batch_size():
    data = FakeData()
    values = -ByContent().log_prob(data.x, data.y)
    for batch in (1, 64, 203, 1000):
        record = run(ByContent(), likelihood(batch=batch))["nll_nats"]
        assert record.value == pytest.approx(values.mean().item(), rel=1e-13)
        assert record.protocol["standard_error"] == pytest.approx(values.std().item() / 203**0.5, rel=1e-9)
    first = run(ByContent(), likelihood(max_samples=5))["nll_nats"]
    assert first.value == pytest.approx(values[:5].mean().item()) and first.protocol["n_reference"] == 5


class Counted(Model):
    def log_prob(self, x, y=None):
        self.seen.append(len(x))
        return super().log_prob(x)


def test_draws_go_through_the_model_in_chunks_no_larger_than_a_batch():
    model = Counted()
    model.seen = []
    run(model, likelihood(draws=7, batch=64), FakeData(n=20))
    assert model.seen == [60, 60, 20]  # 3, 3 and 1 draws of 20 samples


def test_results_do_not_depend_on_the_global_random_state_nor_change_it():
    evaluators = likelihood() | {"fid": FID(n=60, reference="train")}
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

    both = {"fid": FID(n=120, reference="train"), "inception_score": InceptionScore(n=70, splits=2)}
    records = run(Sampler(draw), both)
    assert list(records) == ["fid_flat_120", "inception_score_flat_70"]
    assert drawn["images"] == 150  # 3 batches of 50
    alone = run(Sampler(draw), {"inception_score": both["inception_score"]})
    assert alone["inception_score_flat_70"] == records["inception_score_flat_70"]


def test_protocol_of_a_sample_metric():
    record = run(Model(), {"fid": FID(n=60, reference="train")}, weights="ema", seed=3)["fid_flat_60"]
    assert record.key == "test/fid_flat_60" and record.std is None
    assert record.protocol == {
        "n_generated": 60,
        "n_reference": 203,
        "reference": "fake/train",
        "reference_fingerprint": FakeData().fingerprint("train"),
        "features": "flat",
        "features_sha256": "prepared",
        "resize": "none",
        "weights": "ema",
        "seed": 3,
        "dtype": "float32",
        "world_size": 1,
    }
    assert Record.from_dict(record.to_dict()) == record


class Denoiser(Sampler, Denoises):
    classes = 3
    sampler = SimpleNamespace(steps=20)

    def film(self, n, y=None):
        raise NotImplementedError


def test_protocol_names_the_sampler_and_how_labels_were_drawn():
    protocol = run(Denoiser(Model().sample), {"fid": FID(n=60, reference="train")})["fid_flat_60"].protocol
    assert protocol | {"sampler": "simplenamespace", "sampler_steps": 20, "labels": "uniform"} == protocol


def test_too_few_samples_for_the_dimensions_are_remarked_upon():
    assert "rank-deficient" in run(Model(), {"fid": FID(n=16, reference="train")})["fid_flat_16"].protocol["note"]
    assert "note" not in run(Model(), {"fid": FID(n=17, reference="train")})["fid_flat_17"].protocol


def test_evaluators_a_model_cannot_answer_are_left_out():
    evaluators = likelihood() | {"fid": FID(n=20, reference="train")}
    assert list(applicable(Sampler(None), evaluators)) == ["fid"]
    assert list(applicable(Latent(), evaluators)) == ["likelihood"]
    assert list(run(Latent(), {"fid": evaluators["fid"]}, features=None)) == []


def test_names_and_directions():
    assert [count(n) for n in (500, 1000, 1797, 2000, 50_000)] == ["500", "1k", "1797", "2k", "50k"]
    fid, score = FID(n=1000, reference="train"), InceptionScore(n=50_000, splits=10)
    assert (fid.primary("classifier", 17), fid.mode) == ("fid_classifier_1k", "min")
    assert (score.primary("", 17), score.mode) == ("inception_score_50k", "max")


def test_progress_ends_at_the_total():
    steps = []
    run(Model(), likelihood() | {"fid": FID(n=60, reference="train")}, progress=lambda *step: steps.append(step))
    assert {stage: (done, total) for stage, done, total in steps if stage != "reference"} == {
        "likelihood": (203, 203),
        "samples": (60, 60),
    }


@pytest.mark.parametrize("name", ["likelihood", "fid", "inception_score"])
def test_config_builds_the_evaluator(name):
    path = Path(__file__).parents[1] / "configs" / "evaluator" / f"{name}.yaml"
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
        run(Sampler(draw), {"fid": FID(n=20, reference="train")})


@pytest.mark.parametrize("metric", [FID(n=1, reference="train"), InceptionScore(n=1, splits=1)])
def test_fewer_than_two_samples_are_refused(metric):
    with pytest.raises(UserError, match="got 1 generated samples"):
        run(Model(), {"metric": metric})


def test_a_reference_of_one_image_more_splits_than_samples_and_data_that_are_no_images_are_refused():
    with pytest.raises(UserError, match="got 1 images in fake/train"):
        run(Model(), {"fid": FID(n=20, reference="train")}, FakeData(n=1))
    with pytest.raises(UserError, match="splits=10 for 5 samples"):
        run(Model(), {"inception_score": InceptionScore(n=5, splits=10)})
    with pytest.raises(UserError, match=r"choose evaluator=\[likelihood\]"):
        run(Model(), {"fid": FID(n=20, reference="train")}, FakeData(levels=None))
    with pytest.raises(UserError, match="choose features=classifier"):
        run(Model(), {"fid": FID(n=20, reference="train")}, features=None)
    with pytest.raises(UserError, match="no samples in its test split"):
        run(Model(), likelihood(), FakeData(n=0))


class Broken(Flat):
    def forward(self, pixels):
        return Extracted(pixels.flatten(1).float() / 0, pixels.flatten(1)[:, :3].float())


class Lost(Model):
    def log_prob(self, x, y=None):
        return torch.full((len(x),), torch.nan)


def test_nan_is_a_fault():
    with pytest.raises(Fault, match="features=flat gave NaN"):
        run(Model(), {"fid": FID(n=20, reference="train")}, features=Broken())
    with pytest.raises(Fault, match="log_prob gave NaN for samples 0 to 63"):
        run(Lost(), likelihood())


# Two processes


def every_metric():
    """Odd sizes: 203 samples in batches of 50 against 203 images, which are two batches of the likelihood."""
    evaluators = likelihood(draws=3, batch=110) | {
        "fid": FID(n=203, reference="train"),
        "inception_score": InceptionScore(n=30, splits=3),  # one chunk, which only rank 0 has
    }
    return run(Model("elbo", noise=1.0), evaluators)


def in_process(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save({name: (r.value, r.std) for name, r in every_metric().items()}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_same_numbers_as_one(tmp_path):
    torch.multiprocessing.start_processes(in_process, (str(tmp_path),), nprocs=2, start_method="spawn")
    one = every_metric()
    for rank in (0, 1):
        two = torch.load(tmp_path / f"{rank}.pt")
        assert list(two) == list(one)
        for name, (value, std) in two.items():
            assert value == pytest.approx(one[name].value, rel=1e-10), name
            assert (std or 0) == pytest.approx(one[name].std or 0, rel=1e-8), name
