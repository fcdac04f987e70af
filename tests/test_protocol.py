"""A number and its whole protocol: what changes what is drawn or scored stands in the record, and tells it apart."""

import json
import math

import pytest
import torch
from torch import nn

from genmodels.capabilities import NO_CONDITION, HasLikelihood, Samples
from genmodels.errors import UserError
from genmodels.evaluators.base import Evaluator
from genmodels.evaluators.conditions import Conditions
from genmodels.evaluators.evaluate import applicable, by_evaluator, evaluate_model, not_applicable
from genmodels.evaluators.features.base import Extracted
from genmodels.evaluators.metrics.condition_accuracy import ConditionAccuracy
from genmodels.evaluators.metrics.inception_score import InceptionScore
from genmodels.evaluators.results import Record
from genmodels.evaluators.subject import Subject
from genmodels.fields import Field, label
from genmodels.run.results import add_results, read_results
from genmodels.samplers.ancestral import Ancestral
from genmodels.samplers.ddim import DDIM
from genmodels.seeds import GLOBAL
from tests.helpers import build_model
from tests.test_evaluators import CPU, FakeData, Flat, Model, fid, likelihood, run

FID = {"fid": fid(20)}


@pytest.fixture(scope="module")
def ddpm():
    small = ["model.network.width=8", "model.network.multipliers=[1]", "model.process.schedule.steps=6"]
    small += ["sampler.steps=3"]
    return build_model("ddpm", *small, shape=(1, 4, 4), levels=17, classes=None).eval()


GUIDED = {"guidance": 1.0, "guidance_interval": None, "clip": True}
WAYS = {
    "deterministic against stochastic DDIM": (
        DDIM(steps=3, eta=0.0, **GUIDED),
        DDIM(steps=3, eta=1.0, **GUIDED),
    ),
    "small against large variance": (
        Ancestral(steps=None, variance="small", **GUIDED),
        Ancestral(steps=None, variance="large", **GUIDED),
    ),
}


@pytest.mark.parametrize("ways", WAYS)
def test_another_way_of_sampling_is_another_record(ddpm, ways, tmp_path):
    file = tmp_path / "results.json"
    for sampler in WAYS[ways]:
        ddpm.use(sampler)
        add_results(file, [record.to_dict() for record in run(ddpm, FID).values()])
        add_results(file, [record.to_dict() for record in run(ddpm, FID).values()])  # the same again replaces it
    first, second = (Record.from_dict(found) for found in read_results(file))
    assert first.value != second.value
    for key in ("sampler", "sampler_steps", "sampler_guidance", "sampler_guidance_interval", "sampler_clip"):
        assert key in first.protocol
    assert first.protocol["sampler"] == type(sampler).__name__.lower()


def test_a_record_has_six_keys_and_the_direction_travels_with_it():
    (record,) = run(Model(), FID).values()
    plain = record.to_dict()
    assert list(plain) == ["metric", "split", "value", "std", "protocol", "mode"] and plain["mode"] == "min"
    assert Record.from_dict(json.loads(json.dumps(plain))) == record
    old = {key: value for key, value in plain.items() if key != "mode"}  # as earlier versions wrote it
    assert Record.from_dict(old).mode is None


class Better(Evaluator):
    """A person's own, of which more is better."""

    mode = "max"

    def needs(self, subject):
        return None if isinstance(subject.model, Samples) else "it draws no samples"

    def metrics(self, subject, features):
        return ["brightness"]

    def measure(self, subject, how):
        x, _ = subject.samples.draw(range(7))
        rows = subject.samples.features(7)
        value = x.double().mean().item()
        assert rows.shape == (7, 16)
        return [Record(metric="brightness", split=subject.split, value=value, std=None, protocol={})]


def test_a_persons_own_evaluator_has_its_mode_and_the_common_protocol():
    record = run(Model(), {"own": Better()})["brightness"]
    assert record.mode == "max"
    assert record.protocol == {"weights": "raw", "seed": 0, "dtype": "float32", "world_size": 1}
    assert record.value == pytest.approx(run(Model(), {"own": Better()}, batch_size=3)["brightness"].value)
    assert not_applicable(nn.Identity(), {"own": Better()}, FakeData()) == {"own": "it draws no samples"}


# Conditions


class Asked(nn.Module, Samples, HasLikelihood):
    """Images that are full of their label; their likelihood is 1/3 for that label's images."""

    condition = label(3)
    bound = "exact"

    def __init__(self, wrong=0):
        super().__init__()
        self.wrong, self.seen = wrong, []

    def sample(self, n, condition=NO_CONDITION, rng=GLOBAL):
        self.seen.append(condition["label"])
        shown = torch.where(rng.uniform((n,), CPU) < self.wrong, (condition["label"] + 1) % 3, condition["label"])
        return shown.to(torch.uint8).view(-1, 1, 1, 1).expand(n, 1, 4, 4)

    def log_prob(self, x, condition=NO_CONDITION, *, draws=None):
        return torch.full((len(x),), -math.log(3.0))


class Reader(Flat):
    """A perfect classifier of those images: the logits' largest is the value of the first pixel."""

    tells_labels = True

    def forward(self, pixels):
        f = pixels.flatten(1).float() / 255
        return Extracted(f + torch.rand(f.shape, generator=torch.Generator().manual_seed(0)) / 100, self.logits(f))

    def logits(self, f):
        return -(f[:, :1] * 16 - torch.arange(3)).abs()


def accuracy(n=100):
    return {"condition_accuracy": ConditionAccuracy(n=n, reference="train")}


def test_samples_are_conditioned_on_the_reference_splits_rows_in_a_fixed_order():
    data, model = FakeData(n=60), Asked()
    run(model, accuracy(100), data, features=Reader(), batch_size=30)
    asked = torch.cat(model.seen)
    assert len(asked) == 100 and torch.equal(asked[:40], asked[60:])  # begun anew after the split's 60
    assert torch.equal(asked[:60].sort()[0], data.labels.sort()[0]) and not torch.equal(asked[:60], data.labels)
    again = Asked()
    run(again, accuracy(70), data, features=Reader(), seed=5, batch_size=64)
    assert torch.equal(torch.cat(again.seen), asked[:70])  # whatever seed, number and batch size


def test_condition_accuracy_is_the_share_of_samples_with_their_label():
    record = run(Asked(), accuracy(), features=Reader())["condition_accuracy_flat_100"]
    assert record.value == 1 and record.mode == "max"
    assert record.protocol["conditions"] == "label of fake/train, permuted by seed 0"
    assert run(Asked(wrong=1), accuracy(), features=Reader())["condition_accuracy_flat_100"].value == 0
    some = run(Asked(wrong=0.3), accuracy(2000), features=Reader())["condition_accuracy_flat_2k"].value
    assert some == pytest.approx(0.7, abs=0.05)


def test_condition_accuracy_is_of_conditional_models_and_classifiers_alone():
    assert not_applicable(Model(), accuracy(), FakeData()) == {
        "condition_accuracy": "Model is not conditional on a label"
    }
    with pytest.raises(UserError, match="features=flat is not one: choose features=classifier"):
        run(Asked(), accuracy(), features=Flat())


class OnImages(Asked):
    condition = {"image": Field("image", (1, 2, 2), 17)}


def test_data_without_the_models_condition_are_refused_before_the_work():
    with pytest.raises(UserError, match=r"conditional on image \(image \[1, 2, 2\] of 0..16\), and fake has label"):
        applicable(OnImages(), likelihood(), FakeData())
    unlabelled = FakeData()
    unlabelled.condition = {}
    with pytest.raises(UserError, match="conditional on label .*, and fake has no conditions"):
        run(Asked(), accuracy(), unlabelled, features=Reader())
    other = FakeData()
    other.condition = label(7)
    with pytest.raises(UserError, match=r"of 0..2\), and fake has label as label \[\] of 0..6"):
        run(Asked(), accuracy(), other, features=Reader())


def test_conditional_samples_have_the_conditions_of_one_split():
    two = accuracy() | {"fid": fid(20)}
    two["fid"].reference = "test"
    with pytest.raises(UserError, match="references test and train, expected one"):
        applicable(Asked(), two, FakeData())
    assert list(applicable(Model(), two, FakeData())) == ["fid"]


def test_images_as_conditions():
    data = FakeData(n=5)
    data.condition = OnImages.condition
    images = torch.arange(20, dtype=torch.uint8).view(5, 1, 2, 2)
    data.split = lambda name: (data.samples, {"image": images})
    conditions = Conditions(OnImages(), data, "train")
    given = conditions.of(range(3, 9), CPU)["image"]
    assert given.shape == (6, 1, 2, 2) and torch.equal(given, images[conditions.order[[3, 4, 0, 1, 2, 3]]])
    assert conditions.protocol() == {"conditions": "image of fake/train, permuted by seed 0"}
    assert Conditions(Model(), data, "train").of(range(3), CPU) == {}


def test_a_conditional_likelihood_has_another_name_and_says_on_what():
    record = run(Asked(), likelihood())["conditional_nll_nats"]
    assert record.value == pytest.approx(math.log(3)) and record.protocol["conditional_on"] == ["label"]
    assert list(run(Asked(), likelihood())) == ["conditional_bits_per_dim", "conditional_nll_nats"]
    evaluator = likelihood()["likelihood"]
    assert evaluator.metrics(Subject(model=Asked(), data=FakeData()), "")[0] == "conditional_bits_per_dim"
    assert "conditional_on" not in run(Model(), likelihood())["nll_nats"].protocol


# Data of several tensors, and of other kinds


class Pairs:
    """A label and an image as one sample."""

    name, shape, levels, classes, prepared = "pairs", (5,), None, None, None
    x = {"image": Field("image", (1, 2, 2), 4), "kind": Field("label", (), 2)}
    condition = {}

    def __init__(self):
        g = torch.Generator().manual_seed(0)
        image = torch.randint(4, (30, 1, 2, 2), generator=g, dtype=torch.uint8)
        self.samples = {"image": image, "kind": torch.randint(2, (30,), generator=g)}

    def split(self, name):
        return self.samples, {}

    def fingerprint(self, split):
        return "0"


class UniformPairs(nn.Module, HasLikelihood):
    bound = "exact"

    def log_prob(self, x, condition=NO_CONDITION, *, draws=None):
        return torch.full((len(x["image"]),), -(4 * math.log(4) + math.log(2)))


def test_the_likelihood_of_samples_of_several_tensors():
    records = run(UniformPairs(), likelihood(batch=8) | {"fid": fid(4)}, Pairs(), features=None)
    assert records["nll_nats"].value == pytest.approx(9 * math.log(2))
    assert records["bits_per_dim"].value == pytest.approx(9 / 5) and records["nll_nats"].protocol["n_reference"] == 30
    (reason,) = not_applicable(Model(), {"fid": fid(4)}, Pairs()).values()
    assert reason == "pairs has no images of integers, but image [1, 2, 2] of 0..3 and label [] of 0..1"


# What is known need not be drawn again


def test_results_over_samples_are_taken_over_from_another_split():
    model, data = Asked(), FakeData()
    both = likelihood() | accuracy(50)
    how = dict(features=Reader(), seed=0, batch_size=50, weights="raw", device=CPU, data=data)
    val = by_evaluator(model, both, split="val", **how)
    drawn = len(model.seen)
    test = by_evaluator(model, both, split="test", known=val, **how)
    assert len(model.seen) == drawn
    assert [r.key for r in test["condition_accuracy"]] == ["test/condition_accuracy_flat_50"]
    assert test == by_evaluator(model, both, split="test", **how)
    assert test["likelihood"][0].split == "test" and val["likelihood"][0].split == "val"


# Precision


def test_precision_is_that_of_the_model_and_stands_in_the_protocol():
    seen = []

    class Watched(Model):
        def sample(self, n, condition=NO_CONDITION, rng=GLOBAL):
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().sample(n, condition, rng)

    class Careful(Flat):
        def forward(self, pixels):
            assert not torch.is_autocast_enabled("cpu")
            return super().forward(pixels)

    record = run(Watched(), FID, features=Careful(), precision="bf16-mixed")["fid_flat_20"]
    assert seen == [True] and record.protocol["dtype"] == "bfloat16"
    with pytest.raises(UserError, match="use precision=bf16-mixed"):
        run(Model(), FID, precision="16-mixed")


def test_one_pass_serves_all_and_the_rows_are_kept_once():
    from genmodels.evaluators import subject
    from genmodels.evaluators.metrics.kid import KID
    from genmodels.evaluators.metrics.precision_recall import PrecisionRecall

    banks, model = [], Asked()

    class Counted(subject.Bank):
        def __init__(self, n, shape):
            banks.append(n)
            super().__init__(n, shape)

    kid = KID(n=40, reference="train", subsets=1, subset_size=None, seed=0)
    metrics = {"kid": kid, "precision_recall": PrecisionRecall(n=60, reference="train", k=3), "own": Better()}
    metrics |= {"fid": fid(30), "is": InceptionScore(n=70, splits=2)} | accuracy(50)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "Bank", Counted)
        together = {r.metric: r.value for r in all_of(model, metrics)}
    assert banks == [60] and sum(map(len, model.seen[:2])) == 70
    alone = {r.metric: r.value for name in metrics for r in all_of(Asked(), {name: metrics[name]})}
    assert alone == together


def all_of(model, metrics):
    how = dict(data=FakeData(), split="test", features=Reader(), seed=0, batch_size=50, weights="raw", device=CPU)
    return evaluate_model(model, metrics, **how)
