"""What surrounds a command: variables that are empty are as if they were not there, and any encoding can be printed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from genmodels.disk.user_cache import cache_dir
from genmodels.processes.environment import check_environment
from genmodels.training.loggers.wandb_begin import wanted_mode

EMPTY = ("WANDB_DISABLED", "WANDB_MODE", "WANDB_RUN_ID", "RANK", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS")
PLACES = ("GENMODELS_DATA", "GENMODELS_CACHE", "XDG_CACHE_HOME")


def test_empty_variables_mean_nothing(monkeypatch):
    for name in (*EMPTY, *PLACES):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # no GPU: this one means something
    check_environment()
    assert not {*EMPTY, *PLACES} & os.environ.keys() and os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert wanted_mode("auto") == "online" and cache_dir() == Path.home() / ".cache" / "genmodels"


@pytest.mark.parametrize(
    "disabled, mode, expected",
    [
        ("true", "auto", "disabled"),
        ("1", "auto", "disabled"),
        ("false", "auto", "online"),
        ("true", "offline", "offline"),
    ],
)
def test_w_and_b_is_switched_off(disabled, mode, expected, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_DISABLED", disabled)
    assert wanted_mode(mode) == expected


def test_output_in_ascii():
    program = "from genmodels.processes.environment import print_in_any_encoding as p; p(); print('1 ± 2 of ünï')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1 +- 2 of \\xfcn\\xef\n"


@pytest.mark.slow
def test_a_training_whose_output_is_ascii_and_whose_variables_are_empty(tmp_path):
    words = ["trainer=smoke", "callbacks=none", "evaluator=[kid]", "evaluator.kid.n=40", "evaluator.kid.subset_size=20"]
    words += ["features.steps=2", "logger=wandb", "hydra.run.dir=run"]
    empty = dict.fromkeys((*EMPTY, "GENMODELS_DATA", "XDG_CACHE_HOME"), "")
    environment = {**os.environ, **empty, "WANDB_DISABLED": "true", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", "from genmodels.cli.main import main; main()", "train", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert " +- " in done.stdout and not any((tmp_path / "run" / "wandb").glob("*"))


@pytest.mark.slow
def test_training_and_evaluation_do_without_what_only_some_commands_need(tmp_path):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['wandb', 'optuna', 'plotly'])); "  # None: cannot be imported
        "from genmodels.cli.main import main; main()"
    )
    words = ["trainer=smoke", "callbacks=none", "evaluator=[likelihood]"]
    for command in (
        ["train", *words, "logger=csv", "hydra.run.dir=run"],
        ["evaluate", "run=run", "evaluator=[likelihood]", "hydra.run.dir=evaluation"],
    ):
        done = subprocess.run([sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
