"""An average of any width from two that were kept: its mathematics, its snapshots, and the model that is exported."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.integrate import quad
from torch import nn

from genmodels.capabilities import Clock
from genmodels.engine.train import train
from genmodels.run.checkpoint import load
from genmodels.run.post_hoc import Profile, coefficients, gamma_of, inner_product, read_facts, reconstruct_average
from genmodels.training.ema import EMA, Power
from tests.helpers import train_config

STEPS, EVERY = 2000, 100
SMALL = ["model.encoder.width=8", "model.decoder.width=8", "data.batch_size=400", "callbacks=[checkpoint,snapshots]"]
KEPT = ["trainer.max_steps=6", "callbacks.snapshots.every_n_steps=2", "callbacks.checkpoint.every_n_train_steps=3"]


def density(profile: Profile, s: float) -> float:
    t, gamma = profile
    return (gamma + 1) * s**gamma / t ** (gamma + 1) if s <= t else 0.0


@pytest.mark.parametrize(("t", "other"), [(100, 100), (100, 37), (2, 900)])
def test_the_inner_product_is_the_integral(t, other):
    a, b = Profile(t, gamma_of(0.05)), Profile(other, gamma_of(0.2))
    expected, _ = quad(lambda s: density(a, s) * density(b, s), 0, min(t, other), epsabs=0, epsrel=1e-10)
    assert inner_product(a, b) == pytest.approx(expected, rel=1e-7) == inner_product(b, a)


def test_an_average_that_is_there_is_taken_as_it_is():
    there = [Profile(t, gamma_of(std)) for t in (100, 200, 300) for std in (0.05, 0.1)]
    assert coefficients(there, there[3]) == pytest.approx([0, 0, 0, 1, 0, 0], abs=1e-6)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("relative_std", [0.06, 0.07, 0.09])
def test_the_average_of_a_known_trajectory_is_the_one_that_was_tracked(power, relative_std):
    """Of weights theta(s) = s or s^2."""
    model, stds = nn.Linear(1, 1, bias=False).double(), (0.05, 0.1, relative_std)
    averages = [EMA(model, rule=Power(relative_std=std)) for std in stds]
    there, values = [], []
    for step in range(1, STEPS + 1):
        nn.init.constant_(model.weight, (step / STEPS) ** power)
        for ema in averages:
            ema.update(model, Clock(step, step, STEPS))
        if step % EVERY == 0:
            there += [Profile(step, gamma_of(std)) for std in stds[:2]]
            values += [ema.model.weight.item() for ema in averages[:2]]
    x = coefficients(there, Profile(STEPS, gamma_of(relative_std)))
    assert np.dot(x, values) == pytest.approx(averages[2].model.weight.item(), rel=1e-3)


def snapshots(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (run / "snapshots").iterdir()}


@pytest.mark.slow
def test_a_run_keeps_snapshots_and_goes_on_with_their_averages(tmp_path):
    train(train_config(tmp_path / "whole", *SMALL, *KEPT))
    whole = snapshots(tmp_path / "whole")
    assert sorted(whole) == [f"{step:09}_{std}.safetensors" for step in (2, 4, 6) for std in ("0.05", "0.1")]
    facts = read_facts(tmp_path / "whole" / "snapshots" / "000000006_0.1.safetensors")
    weights = load(tmp_path / "whole").state_dict()
    assert facts[:4] == (0.1, 6, 6, 2400) and {*facts.averaged} == {*weights}

    train(train_config(tmp_path / "cut", *SMALL, *KEPT, "trainer.max_steps=3"))
    resumed = train_config(tmp_path / "cut", *SMALL, *KEPT) | {"resume": str(tmp_path / "cut")}
    train(resumed)
    cut = snapshots(tmp_path / "cut")
    assert {name: cut[name] for name in whole} == whole  # beside those of the step at which it ended first


def test_an_export_has_the_width_that_was_asked_for(tmp_path, genmodels):
    run = tmp_path / "run"
    train(train_config(run, *SMALL, *KEPT))
    status, said = genmodels("export", f"run={run}", f"out={tmp_path / 'export'}", "relative_std=0.05")
    assert status == 0, said
    kept = load_file(run / "snapshots" / "000000006_0.05.safetensors")
    exported = load(tmp_path / "export").state_dict()
    for name, weight in kept.items():  # the width of a snapshot gives that snapshot again
        torch.testing.assert_close(exported[name], weight, rtol=1e-4, atol=1e-6)
    raw = load(run, weights="raw").state_dict()
    assert any(not torch.equal(raw[name], exported[name]) for name in raw)

    assert genmodels("evaluate", f"run={tmp_path / 'export'}", "evaluator=[likelihood]")[0] == 0
    (record, *_) = json.loads((tmp_path / "export" / "results.json").read_text())["results"]
    assert record["protocol"]["weights"] == "ema of relative std 0.05" and record["protocol"]["step"] == 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["relative_std=0.3"], "relative_std is 0.3, expected a number above 0 and below 0.2886"),
        (["relative_std=0.07", "weights=raw"], "leave out weights= and checkpoint="),
        (["relative_std=0.07"], "has no snapshots of averaged weights"),
    ],
)
def test_what_cannot_be_put_together_is_refused(run_dir, tmp_path, genmodels, words, sentence):
    status, said = genmodels("export", f"run={run_dir}", "out=export", *words)
    assert status == 2 and sentence in said and not (tmp_path / "export").exists()


def test_a_run_that_began_without_snapshots_does_not_take_them_up(tmp_path, genmodels):
    train(train_config(tmp_path / "run", *SMALL[:3], "callbacks=[checkpoint]", "trainer.max_steps=3"))
    status, said = genmodels(
        "train", f"resume={tmp_path / 'run'}", "callbacks=[checkpoint,snapshots]", "trainer.max_steps=5"
    )
    assert status == 2 and "this run began without it" in said


def test_frozen_and_unaveraged_parts_stay_as_they_are(tmp_path):
    """A GAN's discriminator is not averaged: it is that of the newest step."""
    gan = ["model=dcgan", "model.generator.width=4", "model.discriminator.width=4"]
    config = train_config(tmp_path, *gan, "data.batch_size=400", "callbacks=[checkpoint,snapshots]", *KEPT)
    train(config)
    state, facts = reconstruct_average(tmp_path, 0.07)
    raw = load(tmp_path, weights="raw").state_dict()
    critic = [name for name in raw if name.startswith("discriminator.")]
    assert critic and all(torch.equal(state[name], raw[name]) for name in critic)
    assert not {*critic} & {*facts.averaged} and facts.step == 6
