"""Loggers: the table of metrics, and W&B that is offline here and never stands in the way."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wandb
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pytorch_lightning import Trainer

from genmodels.errors import UserError
from genmodels.training.callbacks.pictures import Pictures
from genmodels.training.loggers import wandb as ours
from genmodels.training.loggers.csv import CSVLogger
from genmodels.training.loggers.wandb import WandbRun, answers, finish
from tests.helpers import CONFIGS
from tests.test_pictures import Toy


def table(path: Path) -> list[list[str]]:
    with path.open() as file:
        return list(csv.reader(file))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "metrics.csv"


def filled(path: Path) -> CSVLogger:
    logger = CSVLogger(path=str(path))
    for step in (10, 20, 30):
        logger.log_metrics({"images_seen": 4 * step, "train/loss": 1 / step}, step=step)
    return logger


# metrics.csv


def test_rows_of_one_step_merge_and_columns_are_added(path):
    logger = filled(path)
    logger.log_metrics({"images_seen": 120, "val/bits_per_dim": 2.5}, step=30)
    logger.log_metrics({"train/loss": 0.025}, step=30)
    logger.log_metrics({"images_seen": 160, "train/loss": float("nan")}, step=40)
    assert table(path) == [
        ["images_seen", "step", "train/loss", "val/bits_per_dim"],
        ["40", "10", "0.1", ""],
        ["80", "20", "0.05", ""],
        ["120", "30", "0.025", "2.5"],
        ["160", "40", "nan", ""],
    ]
    assert list(path.parent.iterdir()) == [path]


def test_an_earlier_row_can_still_be_added_to(path):
    filled(path).log_metrics({"train/loss": 7.0}, step=10)
    assert [row[2] for row in table(path)[1:]] == ["7.0", "0.05", repr(1 / 30)]


def test_every_number_is_in_the_file_at_once_and_whole(path):
    logger = CSVLogger(path=str(path))
    for step in range(1, 50):
        logger.log_metrics({"images_seen": step, "a": 1.0}, step=step)
        logger.log_metrics({"b": 0.1 * step}, step=step)
        assert table(path)[-1] == [str(step), str(step), "1.0", repr(0.1 * step)]
    assert len(table(path)) == 50


def test_a_resumed_run_has_neither_gap_nor_double_point(path):
    straight = filled(path)
    straight.log_metrics({"images_seen": 160, "train/loss": 0.5}, step=40)
    whole = path.read_text()
    path.write_text(whole + "200,50,0.3")  # killed while it wrote
    resumed = CSVLogger(path=str(path))
    resumed.rewind(step=20)
    assert [row[1] for row in table(path)] == ["step", "10", "20"]
    resumed.log_metrics({"images_seen": 120, "train/loss": 1 / 30}, step=30)
    resumed.log_metrics({"images_seen": 160, "train/loss": 0.5}, step=40)
    assert path.read_text() == whole


@pytest.mark.parametrize("step", [20, 30, 40])
def test_going_on_without_a_rewind_loses_nothing(path, step):
    filled(path)
    path.write_text(path.read_text() + "1")
    CSVLogger(path=str(path)).log_metrics({"train/loss": 9.0}, step=step)
    rows = table(path)[1:]
    assert [row[1] for row in rows] == ["10", "20", "30"] + (["40"] if step == 40 else [])
    assert [row[2] for row in rows if row[1] == str(step)] == ["9.0"]


def test_rewind_before_the_first_row(path):
    logger = filled(path)
    logger.rewind(step=0)
    assert table(path) == [["images_seen", "step", "train/loss"]]
    logger.log_metrics({"images_seen": 4, "train/loss": 2.0}, step=1)
    logger.log_metrics({"train/x": 3.0}, step=1)
    assert table(path)[1:] == [["4", "1", "2.0", "3.0"]]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "images_seen,step\n1\n", "images_seen,step\n1,x\n", ""])
def test_a_foreign_file_is_refused_and_kept(path, text):
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match=r"metrics\.csv.*move it"):
        CSVLogger(path=str(path))
    assert path.read_text() == text


# Configuration


def composed(*overrides: str):
    with initialize_config_dir(str(CONFIGS.resolve()), version_base="1.3"):
        cfg = compose(None, ["+run_dir=here", "+name=test", *overrides])
    return OmegaConf.to_container(cfg, resolve=True)


def test_loggers_are_chosen_as_a_list_or_not_at_all():
    assert set(composed("+logger=[wandb,csv]")["logger"]) == {"wandb", "csv"}
    assert composed("+logger=csv")["logger"]["csv"]["path"] == "here/metrics.csv"
    assert not composed("+logger=none").get("logger")


def test_pictures_yaml(tmp_path):
    node = composed("+callbacks=pictures", f"run_dir={tmp_path}")["callbacks"]["pictures"]
    assert instantiate(node).dirpath == tmp_path / "samples"


def test_tensorboard_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("genmodels.training.loggers.tensorboard.find_spec", lambda name: None)
    with pytest.raises(Exception, match="pip install") as caught:
        instantiate(composed("+logger=tensorboard")["logger"]["tensorboard"])
    assert isinstance(caught.value.__cause__ or caught.value, UserError)


# W&B


@pytest.fixture
def no_key(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    yield
    finish(0)


def logger(run_dir: Path, mode: str = "auto") -> WandbRun:
    return WandbRun(project="tests", name="a name", group="sweep", tags=["t"], dir=str(run_dir), mode=mode)


def read_back(run_dir: Path, run_id: str) -> dict:
    (folder,) = run_dir.glob(f"wandb/offline-run-*-{run_id}")
    wandb_program = Path(sys.executable).with_name("wandb")
    out = subprocess.run([wandb_program, "leet", "inspect", "--json", "--summary", folder], capture_output=True)
    return json.loads(out.stdout)


def test_offline_run_its_pictures_and_its_second_part(tmp_path, no_key, capfd):
    first = logger(tmp_path)
    first.log_hyperparams({"model": {"beta": 2.0}, "seed": 0})
    Trainer(
        accelerator="cpu",
        max_steps=2,
        logger=[first],
        callbacks=[Pictures(dirpath=str(tmp_path / "samples"), every_n_steps=1, n=4, frames=2, split="val")],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Toy())
    first.log_metrics({"images_seen": 16, "train/loss": 0.25}, step=2)
    run_id = (tmp_path / "wandb" / "run_id.txt").read_text().strip()
    finish(0)
    assert wandb.run is None

    lines = [line for line in capfd.readouterr().err.splitlines() if "wandb" in line.lower() or "W&B" in line]
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    assert lines == [f"W&B is offline (no API key: `wandb login` stores one); to upload it: wandb sync {folder}"]
    found = read_back(tmp_path, run_id)
    assert found["config"]["model"] == {"beta": 2.0} and found["name"] == "a name" and found["tags"] == ["t"]
    assert found["summary"]["train/loss"] == 0.25 and found["summary"]["images_seen"] == 16
    assert found["state"] == "finished"
    assert len(list(folder.glob("files/media/images/samples_*.png"))) == 2

    second = logger(tmp_path)
    second.log_metrics({"images_seen": 24, "train/loss": 0.2}, step=3)
    second_id = second.experiment.id
    finish(1)
    assert f"goes on from {run_id}; to upload it: wandb sync" in capfd.readouterr().err
    found = read_back(tmp_path, second_id)
    assert second_id != run_id and found["config"]["resumed_from"] == run_id and found["exit_code"] == 1


def test_metrics_are_dropped_where_wandb_fails(tmp_path, capsys):
    class Gone:
        calls = 0

        def log(self, values):
            self.calls += 1
            raise ConnectionResetError("Connection lost")

    broken = logger(tmp_path)
    broken._experiment = gone = Gone()
    for step in range(3):
        broken.log_metrics({"images_seen": step}, step=step)
    assert gone.calls == 1 and capsys.readouterr().err.count("goes on without it") == 1


def test_nothing_begins_before_it_is_used_or_beyond_rank_zero(tmp_path, monkeypatch):
    run = logger(tmp_path)
    monkeypatch.setattr("pytorch_lightning.utilities.rank_zero_only.rank", 1)
    run.log_metrics({"images_seen": 1}, step=1)
    assert not (tmp_path / "wandb").exists() and wandb.run is None


def test_online_is_refused_where_it_cannot_be(tmp_path, no_key):
    with pytest.raises(UserError, match="mode is online.*no API key"):
        _ = logger(tmp_path, mode="online").experiment


def test_wandb_mode_is_respected(tmp_path, no_key, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger(tmp_path).log_metrics({"images_seen": 1}, step=1)
    assert not list(tmp_path.glob("wandb/*"))
    monkeypatch.setenv("WANDB_MODE", "on")
    with pytest.raises(UserError, match="WANDB_MODE is 'on'"):
        _ = logger(tmp_path).experiment


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


def test_an_online_run_goes_on_and_an_offline_one_does_not(tmp_path, monkeypatch):
    asked = []

    def init(**arguments):
        asked.append(arguments)
        return type("Run", (), {"id": "new", "define_metric": lambda *_, **__: None})()

    monkeypatch.setattr(wandb, "init", init)
    (tmp_path / "wandb" / "run-20260101_000000-first").mkdir(parents=True)
    ours.write_id(tmp_path / "wandb", "first")
    ours.init("online", tmp_path, {})
    assert (asked[-1]["id"], asked[-1]["resume"], asked[-1]["config"]) == ("first", "allow", None)
    ours.write_id(tmp_path / "wandb", "first")
    ours.init("offline", tmp_path, {})
    assert (asked[-1]["id"], asked[-1]["resume"], asked[-1]["config"]) == (None, None, {"resumed_from": "first"})
    ours.init("online", tmp_path, {})  # what went before, "new", was offline
    assert (asked[-1]["id"], asked[-1]["config"]) == (None, {"resumed_from": "new"})
