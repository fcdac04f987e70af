"""A run directory: results that replace what they repeat, models loaded with the right weights, several processes."""

import json
import math
import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

import genmodels
from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.evaluators.results import Record
from genmodels.run.checkpoint import checkpoint_path, model_of, read_checkpoint, weights_of
from genmodels.run.results import add_results, read_results
from tests.helpers import train_config

SMALL = ["trainer=smoke", "model.encoder.width=8", "model.decoder.width=8"]


def record(value: float, **protocol: object) -> dict:
    return {"metric": "nll_nats", "split": "test", "value": value, "std": None, "protocol": protocol}


def test_a_result_replaces_the_same_measurement_and_no_other(tmp_path):
    file = tmp_path / "results.json"
    add_results(file, [record(1.0, seed=0, standard_error=0.1), record(2.0, seed=1)])
    add_results(file, [record(3.0, seed=0, standard_error=0.2)])
    assert [(r["value"], r["protocol"]["seed"]) for r in read_results(file)] == [(3.0, 0), (2.0, 1)]
    add_results(file, [record(4.0, seed=0, noise="mt19937"), record(5.0, seed=0, noise="philox4x32-10")])
    assert [r["value"] for r in read_results(file)] == [4.0, 2.0, 5.0]  # earlier versions did not say mt19937
    assert json.loads(file.read_text())["version"] == 1
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", ".results.json.lock"}


def test_results_that_are_not_finite_are_json_that_every_program_reads(tmp_path):
    file = tmp_path / "results.json"
    odd = [
        Record(
            metric="fid", split="test", value=value, std=math.nan, protocol={"standard_error": math.inf, "n": [value]}
        )
        for value in (math.nan, math.inf, -math.inf)
    ]
    add_results(file, [record.to_dict() for record in odd])
    add_results(file, [record.to_dict() for record in odd])  # the same again replaces them

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    assert [r["value"] for r in json.loads(file.read_text(), parse_constant=refuse)["results"]] == [
        "nan",
        "inf",
        "-inf",
    ]
    read = [Record.from_dict(plain) for plain in read_results(file)]
    assert [str(record.value) for record in read] == ["nan", "inf", "-inf"] and math.isnan(read[0].std)
    assert json.loads(file.read_text())["results"][1]["protocol"] == {"standard_error": "inf", "n": ["inf"]}
    file.write_text(json.dumps({"version": 1, "results": [record(math.nan)]}))  # as earlier versions wrote it
    add_results(file, [record(1.0, seed=1)])
    assert [r["value"] for r in json.loads(file.read_text(), parse_constant=refuse)["results"]] == ["nan", 1.0]


def add_twenty(file: Path, process: int) -> None:
    for number in range(20):
        mine = record(1.0, process=process, number=number)
        add_results(file, [mine])
        assert mine in read_results(file)


def test_processes_that_add_results_at_once_lose_none(tmp_path):
    file = tmp_path / "results.json"
    adding = [get_context("fork").Process(target=add_twenty, args=(file, number)) for number in range(4)]
    for process in adding:
        process.start()
    for process in adding:
        process.join()
    assert [process.exitcode for process in adding] == [0] * 4
    kept = {(r["protocol"]["process"], r["protocol"]["number"]) for r in read_results(file)}
    assert kept == {(process, number) for process in range(4) for number in range(20)}


def test_a_record_says_which_way_it_is_better_and_an_older_one_does_not(tmp_path):
    file = tmp_path / "results.json"
    add_results(
        file, [record(1.0, seed=0), record(2.0, seed=1) | {"mode": "max"}, record(3.0, seed=2) | {"mode": None}]
    )
    assert [r.get("mode", ...) for r in read_results(file)] == [..., "max", None]
    add_results(file, [record(4.0, seed=0) | {"mode": "min"}])  # the same measurement, made anew
    assert [(r["value"], r["mode"]) for r in read_results(file)] == [(4.0, "min"), (2.0, "max"), (3.0, None)]
    file.write_text(json.dumps({"version": 1, "results": [record(1.0) | {"mode": "up"}]}))
    with pytest.raises(UserError, match="entries that are not records of metric, split, value, std, protocol and mode"):
        read_results(file)


@pytest.mark.parametrize("decay, weights", [(0.999, "ema"), (0.0, "raw")])
def test_loading_takes_the_averaged_weights_where_there_are_any(tmp_path, decay, weights):
    train(train_config(tmp_path / "run", *SMALL, f"ema.decay={decay}"))
    checkpoint = read_checkpoint(checkpoint_path(tmp_path / "run"))
    assert weights_of(checkpoint) == weights
    model = genmodels.load(tmp_path / "run")
    key = next(name for name, _ in model.named_parameters())
    prefix = {"ema": "ema.model.", "raw": "model."}[weights]
    assert torch.equal(model.state_dict()[key], checkpoint["state_dict"][prefix + key])
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    same = genmodels.load(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert torch.equal(model_of(checkpoint).state_dict()[key], same.state_dict()[key])


def test_load_takes_the_checkpoint_and_the_weights_that_are_asked_for(run_dir):
    raw, ema = (genmodels.load(run_dir, weights=name) for name in ("raw", "ema"))
    differ = [not torch.equal(a, b) for a, b in zip(raw.parameters(), ema.parameters(), strict=True)]
    default = zip(genmodels.load(run_dir).parameters(), ema.parameters(), strict=True)
    assert any(differ) and all(torch.equal(a, b) for a, b in default)
    with pytest.raises(UserError, match="best.ckpt"):
        genmodels.load(run_dir, which="best")
    with pytest.raises(UserError, match="weights is 'EMA', expected None or 'ema' or 'raw'"):
        genmodels.load(run_dir, weights="EMA")


def test_a_run_without_a_checkpoint_says_so(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(UserError, match="has no checkpoint last.ckpt yet"):
        genmodels.load(tmp_path)


@pytest.mark.slow
def test_an_evaluation_on_two_processes_is_that_on_one(tmp_path):
    """`torchrun --nproc-per-node 2 scripts/evaluate.py`: one results.json, the same numbers."""
    train(train_config(tmp_path / "run", *SMALL))
    script = str(Path(__file__).parents[1] / "scripts" / "evaluate.py")
    words = [f"checkpoint={tmp_path}/run/checkpoints/last.ckpt", "evaluator=[likelihood,fid]", "evaluator.fid.n=203"]
    words += [
        "batch_size=50",
        "device=cpu",
        "evaluator.likelihood.batch=100",
        "features=classifier",
        "features.steps=5",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    for n in ("1", "2"):
        command = [*launch, n, script, *words, f"run_dir={tmp_path / n}"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
    one, two = (read_results(tmp_path / n / "results.json") for n in ("1", "2"))
    assert [r["metric"] for r in one] == ["bits_per_dim", "nll_nats", "fid_classifier_203"]
    for alone, together in zip(one, two, strict=True):
        assert together["value"] == pytest.approx(alone["value"], rel=1e-8)
        assert (alone["protocol"]["world_size"], together["protocol"]["world_size"]) == (1, 2)
        assert alone["protocol"]["step"] == together["protocol"]["step"] == 4
