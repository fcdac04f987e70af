"""Samples per second: what is timed, on how many processes, and what the protocol says of the machine."""

import pytest
import torch

from genmodels.errors import UserError
from genmodels.evaluators.evaluate import applicable
from genmodels.evaluators.metrics import speed
from genmodels.evaluators.metrics.speed import Speed
from genmodels.machine import hardware
from tests.test_evaluators import Conditional, Drawing, FakeData, Latent, run


class Clock:
    """Moves on by a second with every sample that is drawn."""

    now = 0.0

    def draw(self, n):
        self.now += n
        self.drawn = [*getattr(self, "drawn", []), n]
        return torch.zeros(n, 1, 4, 4, dtype=torch.uint8)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(speed, "perf_counter", lambda: clock.now)
    return clock


def test_the_first_batch_is_not_timed_and_all_others_are(clock):
    records = run(Drawing(clock.draw), {"speed": Speed(n=70, batch=32)}, features=None)
    assert clock.drawn == [32, 32, 32, 6]
    assert list(records) == ["samples_per_second"] and records["samples_per_second"].value == 1.0


def test_the_protocol_says_on_what_and_how(clock):
    record = run(Conditional(clock.draw), {"speed": Speed(n=8, batch=32)}, features=None)["samples_per_second"]
    assert record.key == "test/samples_per_second" and record.std is None
    assert record.protocol == {
        "n_generated": 8,
        "batch": 8,
        "device": "cpu",
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "sampler": "steps",
        "sampler_steps": 20,
        "conditions": "label of fake/test, permuted by seed 0",
        "weights": "raw",
        "seed": 0,
        "dtype": "float32",
        "world_size": 1,
    }


def test_several_processes_share_the_samples_and_the_slowest_counts(clock, monkeypatch):
    monkeypatch.setattr(speed, "shards", lambda n, size: [range(0, 32), range(64, 70)])  # those of one of two processes
    monkeypatch.setattr(speed, "from_all", lambda x: [x, x] if x is None else [x, 2 * x])
    record = run(Drawing(clock.draw), {"speed": Speed(n=70, batch=32)}, features=None)["samples_per_second"]
    assert clock.drawn == [32, 32, 6] and record.value == pytest.approx(70 / (2 * 38))


def test_it_is_of_models_that_sample_whatever_the_data(clock):
    evaluator = {"speed": Speed(n=4, batch=4)}
    assert list(applicable(Latent(), evaluator, FakeData())) == []
    assert list(applicable(Drawing(None), evaluator, FakeData(levels=None))) == ["speed"]


def test_what_is_measured_elsewhere_does_not_change(clock):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    run(Drawing(lambda n: torch.rand(n) * clock.draw(n).sum()), {"speed": Speed(n=4, batch=2)}, features=None)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("settings", [{"n": 0, "batch": 1}, {"n": 1, "batch": 0}])
def test_nothing_to_time_is_refused(settings):
    with pytest.raises(UserError, match="expected at least 1 of each"):
        Speed(**settings)
