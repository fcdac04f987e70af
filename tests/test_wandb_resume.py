"""A run that goes on is one W&B run, offline as well: begun anew under its id, with the curve in its directory."""

from pathlib import Path

import pytest
import torch
import wandb
from PIL import Image

from genmodels.engine.train import train
from genmodels.pictures import save
from genmodels.training.loggers.base import RunLogger
from genmodels.training.loggers.csv import CSVLogger
from genmodels.training.loggers.histogram import histogram_of
from genmodels.training.loggers.replay import is_whole
from genmodels.training.loggers.wandb import WandbRun
from genmodels.training.loggers.wandb_begin import WandbFolders, init
from tests.helpers import train_config
from tests.wandb_files import folders, history_of, id_of, only, places_of, summary_of

pytestmark = pytest.mark.slow

HISTOGRAM = histogram_of(torch.tensor([1.0, 2.0]))


@pytest.fixture(autouse=True)
def ends():
    yield
    wandb.finish()


def loggers(run_dir: Path, *, csv: bool = True) -> list[RunLogger]:
    names = {"project": "tests", "name": "a", "group": None, "tags": [], "about": [], "notes": None}
    run = WandbRun(**names, dir=str(run_dir), mode="offline", checkpoints="none")
    return [CSVLogger(path=str(run_dir / "metrics.csv")), run] if csv else [run]


def log(loggers: list[RunLogger], run_dir: Path, *steps: int) -> None:
    """Numbers at each step, 4 images a step; at every second one a histogram and a picture as well."""
    for step in steps:
        for logger in loggers:
            logger.log_metrics({"images_seen": 4 * step, "train/loss": 1 / step}, step=step)
            if step % 20 == 0:
                logger.log_histograms({"val/x": HISTOGRAM}, 4 * step)
                logger.log_pictures({"samples": Image.new("L", (8, 8))}, 4 * step)
                save(Image.new("L", (8, 8)), run_dir / "samples" / f"samples_{4 * step:09}.png")


def first_part(run_dir: Path, *, csv: bool = True, steps: tuple[int, ...] = (10, 20, 30, 40)) -> Path:
    """The folder of a run that was killed at step 40 (to its file that is no other than an end)."""
    parts = loggers(run_dir, csv=csv)
    log(parts, run_dir, *steps)
    parts[-1].end(1)
    return only(run_dir)


def second_part(run_dir: Path, *, csv: bool = True, status: int = 0) -> None:
    """Goes on from a checkpoint of step 20."""
    parts = loggers(run_dir, csv=csv)
    for part in parts:
        part.begin(20, 80, 10)
    log(parts, run_dir, 30, 40, 50)
    parts[-1].end(status)


def test_an_offline_run_that_goes_on_is_one_run_without_gap_or_double_point(tmp_path, capfd):
    before = first_part(tmp_path)
    run_id = id_of(before)
    second_part(tmp_path)
    folder = only(tmp_path)
    assert folder != before and id_of(folder) == run_id
    assert (tmp_path / "wandb" / "run_id.txt").read_text().strip() == run_id
    assert places_of(folder, "train/loss") == [40, 80, 120, 160, 200]
    assert places_of(folder, "val/x") == places_of(folder, "samples") == [80, 160]
    rows = [item for item in history_of(folder) if "train/loss" in item]
    assert [(row["trainer/global_step"], row["train/loss"]) for row in rows] == [
        (s, 1 / s) for s in (10, 20, 30, 40, 50)
    ]
    (first, *_) = [item["val/x.values"] for item in history_of(folder) if "val/x.values" in item]
    assert first == HISTOGRAM.counts
    found = summary_of(folder)
    assert found["state"] == "finished" and "resumed_from" not in found["config"]
    assert "continues" not in capfd.readouterr().err


def test_killed_three_times_and_before_its_first_row(tmp_path):
    for killed in range(3):
        parts = loggers(tmp_path)
        parts[-1].begin(0, 0, 10)
        _ = parts[-1].experiment
        wandb.finish()  # nobody tells the logger
        assert len(folders(tmp_path)) == killed + 1 and len({id_of(folder) for folder in folders(tmp_path)}) == 1
    parts[-1].end(0)
    assert len(folders(tmp_path)) == 1


@pytest.mark.parametrize("status, left", [(0, 1), (130, 1), (143, 1), (1, 2)])
def test_the_earlier_part_is_removed_once_the_later_one_is_on_the_disk(tmp_path, status, left):
    first_part(tmp_path)
    second_part(tmp_path, status=status)
    assert len(folders(tmp_path)) == left  # after a fault, such as a full disk, it is kept until the run goes on


def test_what_was_synced_is_kept(tmp_path):
    before = first_part(tmp_path)
    next(before.glob("*.wandb")).with_suffix(".wandb.synced").touch()
    second_part(tmp_path)
    assert before in folders(tmp_path) and len(folders(tmp_path)) == 2
    assert len({id_of(folder) for folder in folders(tmp_path)}) == 1


def test_without_a_whole_curve_the_second_part_is_a_run_of_its_own(tmp_path, capfd):
    before = first_part(tmp_path, csv=False)
    second_part(tmp_path, csv=False)
    first, second = folders(tmp_path)
    assert first == before and places_of(second, "train/loss") == [120, 160, 200]
    assert summary_of(second)["config"]["resumed_from"] == id_of(first)
    assert f"that continues {id_of(first)}" in capfd.readouterr().err


@pytest.mark.parametrize(
    "steps, step, whole",
    [
        ((), 0, True),
        ((), 9, True),
        ((), 10, False),
        ((10, 20), 20, True),
        ((10, 20, 30), 29, True),
        ((10, 20), 40, False),
        ((50, 100), 130, True),  # rows were further away from each other than they are due now
    ],
)
def test_whether_the_curve_is_whole(tmp_path, steps, step, whole):
    csv = CSVLogger(path=str(tmp_path / "metrics.csv"))
    for row in steps:
        csv.log_metrics({"images_seen": row}, step=row)
    assert is_whole(tmp_path, step, 10) is whole


def test_a_training_that_is_killed_and_resumed_is_one_run(tmp_path):
    quick = ["trainer=smoke", "logger=[csv,wandb]", "model.encoder.width=8", "model.decoder.width=8"]
    quick += ["callbacks.checkpoint.every_n_train_steps=2", "logger.wandb.mode=offline"]
    config = train_config(tmp_path / "run", *quick)
    crash = {"_target_": "tests.helpers.Crash", "after_batches": 3}
    with pytest.raises(RuntimeError):
        train({**config, "callbacks": {**config["callbacks"], "crash": crash}})
    before = only(tmp_path / "run")
    train({**config, "resume": str(tmp_path / "run")})
    assert only(tmp_path / "run") != before
    assert places_of(only(tmp_path / "run"), "train/loss") == [64, 128, 192, 256]


# Online, as far as that can be seen without a server


@pytest.fixture
def asked(monkeypatch) -> list[dict]:
    """What wandb.init is asked for."""
    calls = []

    def fake(**arguments):
        calls.append(arguments)
        return type("Run", (), {"id": arguments["id"] or "new", "define_metric": lambda *_, **__: None})()

    monkeypatch.setattr(wandb, "init", fake)
    return calls


def begun(tmp_path: Path, mode: str, *left: str, replayable: bool = True) -> None:
    """Begins a run where one of the id "first" has left these folders and files."""
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "run_id.txt").write_text("first\n")
    for path in left:
        (tmp_path / "wandb" / path).mkdir(parents=True)
    init(mode, WandbFolders(run_dir=tmp_path, replayable=replayable), {})


@pytest.mark.parametrize(
    "mode, left, replayable, run_id, resume",
    [
        ("online", ["run-1-first"], True, "first", "allow"),
        ("online", ["offline-run-1-first"], True, "first", None),  # begun anew, and replayed
        ("online", ["offline-run-1-first"], False, None, None),
        ("online", ["offline-run-1-first/run.wandb.synced"], True, "first", "allow"),
        ("online", ["offline-run-1-first/run.wandb.synced", "offline-run-2-first"], True, "first", None),
        ("offline", ["offline-run-1-first"], True, "first", None),
        ("offline", ["offline-run-1-first/run.wandb.synced"], True, "first", None),
        ("offline", ["offline-run-1-first"], False, None, None),
        ("offline", ["run-1-first"], True, None, None),  # what the server has is not replaced
        ("offline", ["run-1-first", "offline-run-1-first"], True, None, None),
        ("online", [], True, None, None),
    ],
)
def test_which_run_a_resume_goes_on_with(tmp_path, asked, mode, left, replayable, run_id, resume):
    begun(tmp_path, mode, *left, replayable=replayable)
    assert (asked[-1]["id"], asked[-1]["resume"]) == (run_id, resume)
    assert asked[-1]["config"] == (None if run_id else {"resumed_from": "first"})
    assert (tmp_path / "wandb" / "run_id.txt").read_text() == f"{run_id or 'new'}\n"
