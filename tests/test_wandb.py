"""W&B runs: read back from their offline files; W&B never stands in the way."""

import json
import os
import shutil
import socket
import time
from pathlib import Path

import pytest
import torch
import wandb
from hydra.core.hydra_config import HydraConfig
from PIL import Image

from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.evaluators.results import Record
from genmodels.evaluators.shown import Neighbours
from genmodels.training.loggers.histogram import histogram_of
from genmodels.training.loggers.wandb import WandbRun
from genmodels.training.loggers.wandb_begin import answers
from tests.helpers import train_config
from tests.wandb_files import history_of, only, places_of, records_of, summary_of

PROTOCOL = {"n_generated": 2000, "weights": "ema", "reference": "toy/train"}
SMALL = ["model.encoder.width=8", "model.decoder.width=8", "trainer.log_every_n_steps=1", "logger=[csv,wandb]"]


@pytest.fixture(autouse=True)
def no_key(monkeypatch, tmp_path):
    """No key, no settings, a home directory of its own, and as if no command had run in this process."""
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    yield
    wandb.finish()


def logger(run_dir: Path, **changed) -> WandbRun:
    settings = {"project": "tests", "name": "a name", "group": "a sweep", "tags": ["mine"], "notes": "what it is"}
    settings |= {"about": ["toy", None, "vae"], "dir": str(run_dir), "mode": "auto", "checkpoints": "none"}
    return WandbRun(**(settings | changed))


def results() -> list[Record]:
    fid = Record(metric="fid_2k", split="test", value=2.5, std=None, protocol=PROTOCOL)
    score = Record(metric="inception_score_2k", split="test", value=9.0, std=0.25, protocol=PROTOCOL)
    return [fid, score]


def neighbours() -> Neighbours:
    samples = torch.arange(2 * 64, dtype=torch.uint8).view(2, 1, 8, 8)
    distance, index = torch.tensor([0.5, 0.25]), torch.tensor([7, 3])
    return Neighbours(samples=samples, nearest=samples, index=index, distance=distance, reference="toy/train")


# What a run holds


@pytest.mark.slow
def test_what_a_person_sees_of_an_offline_run(tmp_path, capfd):
    run = logger(tmp_path)
    run.log_hyperparams({"model": {"beta": 2.0}, "seed": 0})
    run.log_metrics({"images_seen": 4, "train/loss": 0.5}, step=1)
    run.log_pictures({"samples": Image.new("L", (8, 8))}, 4)
    run.log_histograms({"val/nll_nats_per_sample": histogram_of(torch.tensor([1.0, 2.0, 2.0, torch.inf]))}, 4)
    run.log_neighbours("nearest_distance", neighbours(), 8)
    run.log_metrics({"images_seen": 8, "test/fid_2k": 2.5}, step=2)
    run.log_results(results())
    run.end(0)
    assert wandb.run is None

    told = [line for line in capfd.readouterr().err.splitlines() if "wandb" in line.lower() or "W&B" in line]
    assert told == [
        "W&B is offline (no API key: `wandb login` stores one)",
        f"to upload the W&B run: wandb sync {tmp_path}/wandb",
    ]
    folder = only(tmp_path)
    found = summary_of(folder)
    assert found["name"] == "a name" and found["tags"] == ["mine", "toy", "vae"] and found["notes"] == "what it is"
    assert found["state"] == "finished" and found["config"]["model"] == {"beta": 2.0}
    (about,) = records_of(folder, "run")
    assert about["run_group"] == "a sweep" and about["job_type"] == "train" and about["project"] == "tests"
    assert found["summary"]["test/fid_2k"] == 2.5 and found["summary"]["protocol/test/fid_2k"] == PROTOCOL
    assert found["summary"]["std/test/inception_score_2k"] == 0.25 and "std/test/fid_2k" not in found["summary"]
    assert {metric.get("glob_name"): metric.get("step_metric") for metric in records_of(folder, "metric")} == {
        None: None,
        "*": "images_seen",
    }
    assert [item["images_seen"] for item in history_of(folder)] == [4, 4, 4, 8, 8]
    assert places_of(folder, "samples") == places_of(folder, "val/nll_nats_per_sample") == [4]
    histogram = next(item for item in history_of(folder) if "val/nll_nats_per_sample.values" in item)
    assert (
        sum(histogram["val/nll_nats_per_sample.values"]) == 3 and len(histogram["val/nll_nats_per_sample.bins"]) == 65
    )
    assert len(list(folder.glob("files/media/images/samples_*.png"))) == 1
    (table,) = folder.glob("files/media/table/*.json")
    rows = json.loads(table.read_text())
    assert rows["columns"] == ["sample", "nearest in toy/train", "distance", "number"]
    assert [row[2:] for row in rows["data"]] == [[0.5, 7], [0.25, 3]]
    (artifact,) = records_of(folder, "artifact")  # the table's pictures wait for their upload beside the run
    assert all(Path(entry["local_path"]).is_relative_to(folder) for entry in artifact["manifest"]["contents"])


def filled(node: dict) -> dict:
    """A config without its empty mappings, which W&B does not keep."""
    kept = {key: filled(child) if isinstance(child, dict) else child for key, child in node.items()}
    return {key: child for key, child in kept.items() if child != {}}


@pytest.mark.slow
def test_a_training_from_its_config_to_its_summary(tmp_path):
    evaluators = "evaluator=[likelihood,nearest_neighbours]"
    config = train_config(
        tmp_path / "run", *SMALL, "trainer=smoke", evaluators, "callbacks=default", "evaluator.nearest_neighbours.n=20",
        "callbacks.pictures.n=4", "callbacks.evaluation.every_n_steps=2", "logger.wandb.checkpoints=all", "seed=3",
    )  # fmt: skip
    train(config)
    folder = only(tmp_path / "run")
    found = summary_of(folder)
    assert found["name"] == "test seed=3" and found["tags"] == ["digits", "vae"]
    assert found["config"]["model"] == filled(config["model"]) and found["config"]["seed"] == 3
    records = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
    for record in records:
        assert found["summary"][f"test/{record['metric']}"] == pytest.approx(record["value"])
        assert found["summary"][f"protocol/test/{record['metric']}"] == record["protocol"]
    assert places_of(folder, "val/bits_per_dim") == places_of(folder, "val/bits_per_dim_per_sample") == [128, 256]
    assert (
        places_of(folder, "test/bits_per_dim_per_sample") == places_of(folder, "nearest_distance_of_samples") == [256]
    )
    assert places_of(folder, "samples") == places_of(folder, "reconstructions") == [256]
    assert places_of(folder, "train/loss") == [64, 128, 192, 256]
    kept = {
        tuple(a["aliases"]): json.loads(a["metadata"]) for a in records_of(folder, "artifact") if a["type"] == "model"
    }
    assert {"last", "best"} <= {alias for aliases in kept for alias in aliases}
    (best,) = [about for aliases, about in kept.items() if "best" in aliases]
    assert best["name"] == "test" and best["step"] in (2, 4) and best["val/bits_per_dim"] > 0


@pytest.mark.slow
def test_checkpoints_are_artifacts_only_where_that_was_asked_for(tmp_path, run_dir):
    shutil.copytree(run_dir / "checkpoints", tmp_path / "checkpoints")
    run = logger(tmp_path / "none")
    run.log_metrics({"images_seen": 4}, step=1)
    run.log_checkpoints(tmp_path / "checkpoints")
    run.end(0)
    assert not records_of(only(tmp_path / "none"), "artifact")
    run = logger(tmp_path / "last", checkpoints="last")
    run.log_checkpoints(tmp_path / "checkpoints")
    run.end(0)
    (artifact,) = records_of(only(tmp_path / "last"), "artifact")
    (entry,) = artifact["manifest"]["contents"]
    assert entry["local_path"] == str(tmp_path / "checkpoints" / "last.ckpt")  # itself: offline no copy is made
    assert json.loads(artifact["metadata"])["step"] == 4


@pytest.mark.parametrize("error, status", [("Crash", 1), ("Signal", 143)])
def test_a_run_is_finished_however_it_ends(tmp_path, error, status):
    node = {"_target_": f"tests.helpers.{error}", "after_batches": 2} | ({"number": 15} if error == "Signal" else {})
    config = train_config(tmp_path / "run", *SMALL, "trainer=smoke")
    with pytest.raises(BaseException):  # noqa: B017
        train({**config, "callbacks": {**config["callbacks"], "mine": node}})
    assert summary_of(only(tmp_path / "run"))["exit_code"] == status and wandb.run is None


# Names


def test_tags_are_what_wandb_takes():
    run = logger(Path("nowhere"), tags=["vae", "mine"], about=["x" * 70, "vae"])
    assert run.tags == ["vae", "mine", "x" * 64]
    with pytest.raises(UserError, match=r"logger.wandb.tags has '', expected 1 to 64 characters"):
        logger(Path("nowhere"), tags=[""])


@pytest.mark.slow
def test_jobs_of_a_sweep_are_named_by_what_differs_and_grouped(genmodels, tmp_path):
    words = ["-m", "trainer=smoke", "callbacks=none", "evaluator=[]", "logger=[csv,wandb]", *SMALL[:2]]
    assert genmodels("train", *words, "seed=1,2", "optimizer.lr=0.003", "hydra.sweep.dir=some")[0] == 0
    jobs = [summary_of(only(path.parent)) for path in sorted((tmp_path / "some").glob("*/config.yaml"))]
    names = [job["name"] for job in jobs]
    assert ["seed=1" in name for name in names] == [True, False] and ["seed=2" in name for name in names] == [
        False,
        True,
    ]
    groups = [
        records_of(only(path.parent), "run")[0]["run_group"] for path in (tmp_path / "some").glob("*/config.yaml")
    ]
    assert groups == ["some"] * 2 and len({job["run_id"] for job in jobs}) == 2


@pytest.mark.slow
def test_a_single_run_is_named_by_its_experiment_and_noted(genmodels, tmp_path):
    words = ["trainer=smoke", "callbacks=none", "evaluator=[]", "logger=[csv,wandb]", *SMALL[:2], "seed=5"]
    assert genmodels("train", "experiment=digits_vae", *words, "trainer.max_steps=1", "hydra.run.dir=r")[0] == 0
    found = summary_of(only(tmp_path / "r"))
    assert found["name"] == "digits_vae seed=5" and found["notes"].startswith("Convolutional VAE on the 8x8 digits")
    assert "run_group" not in records_of(only(tmp_path / "r"), "run")[0]


def test_a_paper_is_a_tag():
    baseline = "baseline={system:s,paper:'Kingma & Welling 2014',link:l,metric:m,figure:1,source:s,protocol:p}"
    logger = train_config(Path("r"), "logger=wandb", baseline)["logger"]["wandb"]
    assert logger["about"] == ["digits", "vae", "Kingma & Welling 2014"]


@pytest.mark.slow
def test_an_agent_of_a_wandb_sweep_gets_its_run(tmp_path, monkeypatch):
    """With the environment that `wandb agent` gives to the command that it runs."""
    given = tmp_path / "config-xyz1.yaml"
    given.write_text("wandb_version: 1\noptimizer.lr:\n  value: 0.004\n")
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc9")
    monkeypatch.setenv("WANDB_RUN_ID", "xyz1")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(given))
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()  # what it read from the environment before
    run = logger(tmp_path / "run", group=None)
    run.log_hyperparams({"optimizer": {"lr": 0.004}})
    run.end(0)
    monkeypatch.undo()
    wandb.teardown()
    about = records_of(only(tmp_path / "run"), "run")[0]
    assert about["run_id"] == "xyz1" and about["sweep_id"] == "abc9" and about["display_name"] == "a name"
    found = summary_of(only(tmp_path / "run"))
    assert found["config"]["optimizer"] == {"lr": 0.004} and found["config"]["optimizer.lr"] == 0.004


# It never stands in the way


def test_metrics_are_dropped_where_wandb_fails(tmp_path, capsys):
    class Gone:
        dir = str(tmp_path)
        calls = 0

        def log(self, values):
            self.calls += 1
            raise ConnectionResetError("Connection lost")

    broken = logger(tmp_path)
    broken._experiment = gone = Gone()
    for step in range(3):
        broken.log_metrics({"images_seen": step}, step=step)
        broken.log_pictures({"samples": Image.new("L", (8, 8))}, step)
        broken.log_results(results())
    assert gone.calls == 1 and capsys.readouterr().err.count("continues without it") == 1


def test_nothing_begins_before_it_is_used_or_beyond_rank_zero(tmp_path, monkeypatch):
    run = logger(tmp_path)
    monkeypatch.setattr("pytorch_lightning.utilities.rank_zero_only.rank", 1)
    run.begin(0, 0, 1)
    run.log_metrics({"images_seen": 1}, step=1)
    run.log_pictures({"samples": Image.new("L", (8, 8))}, 1)
    run.log_results(results())
    run.end(0)
    assert not (tmp_path / "wandb").exists() and wandb.run is None


def test_online_is_refused_where_it_cannot_be(tmp_path):
    with pytest.raises(UserError, match="mode is online.*no API key"):
        _ = logger(tmp_path, mode="online").experiment


def test_wandb_mode_is_respected(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = logger(tmp_path)
    run.log_metrics({"images_seen": 1}, step=1)
    run.log_neighbours("nearest_distance", neighbours(), 1)
    run.end(0)
    assert not list(tmp_path.glob("wandb/*"))
    monkeypatch.setenv("WANDB_MODE", "on")
    with pytest.raises(UserError, match="WANDB_MODE is 'on'"):
        logger(tmp_path)


def test_a_server_answers_or_not_in_time(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert answers(f"http://127.0.0.1:{port}", 1.0)
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{port}")
        assert answers("https://nowhere.invalid", 1.0)
        monkeypatch.delenv("https_proxy")
    assert not answers(f"http://127.0.0.1:{port}", 1.0)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: time.sleep(2))
    begin = time.monotonic()
    assert not answers("https://nowhere.invalid", 0.1) and time.monotonic() - begin < 1
