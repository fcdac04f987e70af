"""Progress where there is no terminal: what takes long says how far it is and when it will be done."""

import re
from io import StringIO
from time import sleep
from unittest.mock import Mock

import pytest
import torch
from pytorch_lightning import Trainer
from rich.console import Console

from genmodels import progress
from genmodels.console import evaluation_progress
from genmodels.evaluators.features.classifier import Classifier
from genmodels.evaluators.metrics.fid import FID
from genmodels.evaluators.metrics.kid import KID
from genmodels.evaluators.metrics.likelihood import Likelihood
from genmodels.evaluators.metrics.precision_recall import PrecisionRecall
from genmodels.evaluators.metrics.speed import Speed
from genmodels.progress import ProgressLines, tracked
from genmodels.training.callbacks.progress import lines_of
from tests.test_evaluators import Model, run
from tests.test_reference import Images, of

TIMES = r"\d:\d\d:\d\d elapsed, \d:\d\d:\d\d left"


@pytest.fixture
def clock(monkeypatch):
    """Every look at the clock finds it a second later."""
    seconds = iter(range(100_000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))


def lines(capsys):
    return capsys.readouterr().err.splitlines()


def test_lines_say_how_far_it_is_and_how_long_it_takes(clock, capsys):
    show = ProgressLines()
    for done in range(1001):
        show("samples", done, 1000)
    said = lines(capsys)
    assert said[0] == "samples: 5/1000, 0:00:05 elapsed, 0:16:35 left" and 8 <= len(said) <= 11
    assert said[-1].startswith("samples: 9")


def test_what_is_done_within_seconds_is_not_shown(capsys):
    assert list(tracked(range(1000), "classifier")) == list(range(1000))
    assert not lines(capsys)


def test_a_stage_of_one_part_says_that_it_goes_on(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)
    with progress.progress_display(Console(file=StringIO())) as show:
        show("samples", 0, 300)
        sleep(0.3)
        show("samples", 300, 300)
        for stage in ("reference", "samples"):
            show(stage, 0, 2)  # what is done or left soon is not shown
    sleep(0.2)
    assert lines(capsys) == ["samples: 0/300, 0:00:00 elapsed"]


def test_every_stage_of_an_evaluation_says_when_it_begins(monkeypatch, tmp_path):
    """So that no stage is silent, however few its parts are."""
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path))
    begun, every = set(), set()

    def note(stage, done, total):
        every.add(stage)
        if not done:
            begun.add(stage)

    evaluators = {
        "fid": FID(n=20, reference="train", extrapolate=None),
        "kid": KID(n=20, reference="train", subsets=1, subset_size=None, seed=0),
        "subsets": KID(n=20, reference="train", subsets=2, subset_size=10, seed=0),
        "precision": PrecisionRecall(n=20, reference="train", k=3),
        "likelihood": Likelihood(draws=1, max_samples=None, batch=500, save=None),
        "speed": Speed(n=20, batch=20),
    }
    run(Model(), evaluators, progress=note)
    stages = {"reference", "samples", "fid", "pairs of kid", "subsets of kid", "likelihood", "speed"}
    assert begun == every and stages < every


def test_each_stage_has_its_own_time(clock, capsys):
    show = ProgressLines()
    for stage in ("reference", "samples"):
        for done in range(7):
            show(stage, done, 100)
    assert lines(capsys) == [f"{stage}: 5/100, 0:00:05 elapsed, 0:01:35 left" for stage in ("reference", "samples")]


def test_an_evaluation_beside_training_shows_it(clock, capsys):
    first, other = (lines_of(Mock(spec=Trainer, is_global_zero=zero), "evaluating on val") for zero in (True, False))
    for done in range(7):
        first("samples", done, 100)
        other("samples", done, 100)
    assert lines(capsys) == ["evaluating on val: samples: 5/100, 0:00:05 elapsed, 0:01:35 left"]


def test_the_classifier_the_evaluation_and_kid_show_it(clock, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path))
    Classifier(dim=4, width=2, steps=20, batch_size=4, lr=0.1, seed=0).prepare(Images(levels=17), torch.device("cpu"))
    with evaluation_progress() as progress:
        for done in range(20):
            progress("likelihood", done, 20)
        kid = KID(n=20, reference="train", subsets=20, subset_size=10, seed=0)
        kid.progress = progress
        kid.compute(of(rows=True), torch.rand(20, 16))
    said = " ".join(lines(capsys))
    for stage in ("classifier", "likelihood", "subsets of kid"):
        assert re.search(rf"{stage}: \d+/20, {TIMES}", said), said
