"""What a person can write wrongly (tests/bad_input.py): one clear sentence, its status, nothing left behind."""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from genmodels.cli.main import main
from genmodels.errors import UserError
from tests.bad_input import QUICK as QUICKLY
from tests.bad_input import assert_refused, of_kinds

QUICK = QUICKLY.split()


@pytest.mark.parametrize("row", of_kinds("command line", "value", "contract", "data", "environment", "fault"))
def test_bad_input_is_one_sentence(row, genmodels, run_dir, tmp_path, monkeypatch):
    assert_refused(row, genmodels, run_dir, tmp_path, monkeypatch)


def test_mistakes_in_an_experiment_file(genmodels, tmp_path):
    """Hydra takes unknown keys and a forgotten @package in silence; we do not, and say where they stand."""
    experiments = tmp_path / "mine" / "experiment"
    experiments.mkdir(parents=True)
    (experiments / "typo.yaml").write_text("# @package _global_\noptimizer:\n  learning_rate: 1\n")
    (experiments / "value.yaml").write_text("# @package _global_\ntrainer:\n  max_steps: many\n")
    (experiments / "global.yaml").write_text("trainer:\n  max_steps: 3\n")
    for name, sentence in {
        "typo": "no key optimizer.learning_rate",
        "value": "trainer.max_steps is 'many', expected an integer",
        "global": "no key experiment",
    }.items():
        status, err = genmodels("train", f"experiment={name}", *QUICK[1:], "--config-dir", str(tmp_path / "mine"))
        assert status == 2 and sentence in err, err
        assert f"(set in experiment/{name}.yaml" in err, err


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def test_corrupt_dataset_files(genmodels, tmp_path):
    folder = tmp_path / "data" / "mnist"
    for part, n in (("train", 60), ("t10k", 20)):
        images = np.random.default_rng(0).integers(256, size=(n, 28, 28))
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.zeros(n))
    status, err = genmodels("train", "data=mnist", *QUICK)
    assert status == 2 and "md5" in err and "train-images-idx3-ubyte.gz" in err, err
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:10000])
    status, err = genmodels("train", "data=mnist", "data.verify=false", *QUICK)
    assert status == 2 and "train-images-idx3-ubyte.gz" in err, err


def test_a_loss_that_is_not_finite_is_a_fault(genmodels, tmp_path):
    run = ["train", "trainer=cpu", "trainer.max_steps=50", "optimizer.lr=1e30", *QUICK[1:], "hydra.run.dir=run"]
    status, err = genmodels(*run, "callbacks.checkpoint.every_n_train_steps=1")
    assert status == 1 and "not finite at step" in err and "learning rate" in err, err
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] >= 1


def test_no_permission_to_write(genmodels, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    status, err = genmodels("train", *QUICK, "hydra.run.dir=locked")
    assert status == 2 and "no permission" in err and "locked" in err, err


def test_the_debug_variable_shows_the_traceback(genmodels, monkeypatch):
    monkeypatch.setenv("GENMODELS_DEBUG", "1")
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["genmodels", "evaluate"])
    with pytest.raises(UserError):
        main()
