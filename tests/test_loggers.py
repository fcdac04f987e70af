"""Loggers: which there are, the tables of metrics and histograms, and TensorBoard; W&B has files of its own."""

import csv
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from genmodels.errors import UserError
from genmodels.evaluators.results import Record
from genmodels.training.loggers import histogram_table
from genmodels.training.loggers.base import run_loggers, shown_by
from genmodels.training.loggers.csv import CSVLogger
from genmodels.training.loggers.histogram import histogram_of
from genmodels.training.loggers.tensorboard import TensorBoard
from tests.helpers import CONFIGS


def table(path: Path) -> list[list[str]]:
    with path.open() as file:
        return list(csv.reader(file))


@pytest.fixture(autouse=True)
def no_app(monkeypatch):
    """As if no command had run in this process."""
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)


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
    resumed.begin(20, 80, 10)
    assert [row[1] for row in table(path)] == ["step", "10", "20"]
    resumed.log_metrics({"images_seen": 120, "train/loss": 1 / 30}, step=30)
    resumed.log_metrics({"images_seen": 160, "train/loss": 0.5}, step=40)
    assert path.read_text() == whole


@pytest.mark.parametrize("step", [20, 30, 40])
def test_going_on_without_begin_loses_nothing(path, step):
    filled(path)
    path.write_text(path.read_text() + "1")
    CSVLogger(path=str(path)).log_metrics({"train/loss": 9.0}, step=step)
    rows = table(path)[1:]
    assert [row[1] for row in rows] == ["10", "20", "30"] + (["40"] if step == 40 else [])
    assert [row[2] for row in rows if row[1] == str(step)] == ["9.0"]


def test_begin_before_the_first_row(path):
    logger = filled(path)
    logger.begin(0, 0, 10)
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
        facts = ["+run_dir=here", "+name=test", "+seed=0", "+data.name=toy", "+model._target_=genmodels.models.vae.VAE"]
        cfg = compose(None, [*facts, *overrides])
    return OmegaConf.to_container(cfg, resolve=True)


def test_loggers_are_chosen_as_a_list_or_not_at_all():
    assert set(composed("+logger=[wandb,csv]")["logger"]) == {"wandb", "csv"}
    assert composed("+logger=csv")["logger"]["csv"]["path"] == "here/metrics.csv"
    assert not composed("+logger=none").get("logger")


def test_wandb_yaml():
    node = composed("+logger=wandb")["logger"]["wandb"]
    assert node["name"] == "test seed=0" and node["about"] == ["toy", "vae", None] and node["tags"] == []
    assert node["checkpoints"] == "none" and instantiate(node).tags == ["toy", "vae"]


def test_project_and_group_are_those_of_the_environment(monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    monkeypatch.setenv("WANDB_RUN_GROUP", "today")
    node = composed("+logger=wandb")["logger"]["wandb"]
    assert (node["project"], node["group"]) == ("ours", "today")


def test_pictures_yaml(tmp_path):
    node = composed("+callbacks=pictures", f"run_dir={tmp_path}")["callbacks"]["pictures"]
    assert instantiate(node).dirpath == tmp_path / "samples"


def test_tensorboard_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("genmodels.training.loggers.tensorboard.find_spec", lambda name: None)
    with pytest.raises(Exception, match="pip install") as caught:
        instantiate(composed("+logger=tensorboard")["logger"]["tensorboard"])
    assert isinstance(caught.value.__cause__ or caught.value, UserError)


# histograms.csv


def test_histograms_lie_beside_the_metrics_and_are_gone_on_with(path):
    logger = CSVLogger(path=str(path))
    values = torch.tensor([0.0, 0.25, 1.0, torch.inf, torch.nan])
    for images_seen in (40, 80, 120):
        logger.log_histograms({"val/x": histogram_of(values)}, images_seen)
    ((images_seen, name, found), *_) = histogram_table.read(path.with_name("histograms.csv"))
    assert (images_seen, name, found.low, found.high) == (40, "val/x", 0, 1)
    assert sum(found.counts) == 3 and [found.counts[i] for i in (0, 16, 63)] == [1, 1, 1]
    assert found.edges.tolist() == np.linspace(0, 1, 65).tolist()
    with path.with_name("histograms.csv").open("a") as file:
        file.write("160,val/x,0")  # killed while it wrote
    CSVLogger(path=str(path)).begin(20, 80, 10)
    assert [row[0] for row in histogram_table.read(path.with_name("histograms.csv"))] == [40, 80]
    assert path.with_name("histograms.csv").read_text().count("\n") == 3


def test_a_histogram_that_was_made_again_takes_the_place_of_the_first(path):
    logger = CSVLogger(path=str(path))
    for value in (1.0, 2.0):
        logger.log_histograms({"val/x": histogram_of(torch.tensor([value]))}, 40)
    ((_, _, found),) = histogram_table.read(path.with_name("histograms.csv"))
    assert found.low == 1.5


def test_histograms_without_a_finite_value_and_of_one():
    assert sum(histogram_of(torch.tensor([torch.inf])).counts) == 0
    assert sum(histogram_of(torch.tensor([2.0])).counts) == 1


# TensorBoard, where a stand-in writes down what its writer is asked for


@pytest.fixture
def written(monkeypatch) -> list[tuple]:
    calls = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            calls.append(("begin", Path(folder).name, purge_step))
            self.file_writer = self

        def __getattr__(self, name):
            return lambda *given, **named: calls.append((name, *given, *named.values()))

    fakes = {"torch.utils.tensorboard": {"SummaryWriter": SummaryWriter}}
    fakes["torch.utils.tensorboard.summary"] = {"hparams": lambda *given: [given]}
    for name, content in fakes.items():
        fake = ModuleType(name)
        fake.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setattr("genmodels.training.loggers.tensorboard.find_spec", lambda name: object())
    return calls


def asked(written: list[tuple], what: str) -> list[tuple]:
    return [given for name, *given in written if name == what]


def test_tensorboard_is_given_all_that_it_can_show_over_images_seen(tmp_path, written):
    logger = TensorBoard(path=str(tmp_path / "tensorboard"))
    logger.begin(0, 0, 10)
    logger.log_hyperparams({"model": {"beta": 2.0, "sizes": [1, 2]}, "seed": 0})
    logger.log_metrics({"images_seen": 40, "train/loss": torch.tensor(0.5)}, step=10)
    show = shown_by([logger], 40)
    show.picture("samples", Image.new("L", (6, 4)))
    show.values("val/x", torch.tensor([0.0, 1.0, 1.0]).double())
    logger.log_results([Record(metric="x", split="test", value=2.0, std=None, protocol={"seed": 0})])
    logger.end(0)
    assert written[0] == ("begin", "tensorboard", None)
    assert asked(written, "add_scalar") == [["train/loss", 0.5, 40]]
    ((kind, pixels, step, order),) = asked(written, "add_image")
    assert (kind, pixels.shape, step, order) == ("samples", (4, 6, 3), 40, "HWC")
    ((name, low, high, n, total, squares, limits, counts, step),) = asked(written, "add_histogram_raw")
    assert (name, low, high, n, step) == ("val/x_per_sample", 0, 1, 3, 40)
    assert total == pytest.approx(2, abs=0.02) and squares == pytest.approx(2, abs=0.04)
    assert limits[0] == 1 / 64 and limits[-1] == 1 and counts[0] == 1 and counts[-1] == 2
    settings = {"model.beta": 2.0, "model.sizes": "[1, 2]", "seed": 0}
    assert asked(written, "add_summary") == [[(settings, {"test/x": 2.0})]]
    assert "model.beta: 2.0" in asked(written, "add_text")[0][1] and written[-1] == ("close",)


def test_tensorboard_hides_what_came_after_the_checkpoint(tmp_path, written):
    (tmp_path / "tensorboard").mkdir()
    logger = TensorBoard(path=str(tmp_path / "tensorboard"))
    logger.begin(20, 80, 10)
    logger.log_metrics({"images_seen": 120, "train/loss": 0.5}, step=30)
    assert written[0] == ("begin", "tensorboard", 81)


def test_tensorboard_writes_on_the_first_process_only(tmp_path, written, monkeypatch):
    monkeypatch.setattr("pytorch_lightning.utilities.rank_zero_only.rank", 1)
    logger = TensorBoard(path=str(tmp_path / "tensorboard"))
    logger.begin(0, 0, 10)
    logger.log_metrics({"images_seen": 40, "train/loss": 0.5}, step=10)
    shown_by([logger], 40).picture("samples", Image.new("L", (6, 4)))
    logger.save()
    logger.end(0)
    assert written == []


def test_a_foreign_logger_is_given_numbers_alone(path):
    from pytorch_lightning.loggers import CSVLogger as Lightnings

    foreign, own = Lightnings(save_dir=str(path)), CSVLogger(path=str(path))
    assert run_loggers([foreign, own]) == [own]
