"""The README's commands and code run as they are written, cut short."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from sklearn.datasets import load_digits

import genmodels
from genmodels.cli.main import main
from genmodels.cli.train import train
from tests.helpers import train_config

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for kind, block in BLOCKS
    for line in block.splitlines()
    if kind == "bash" and line.startswith("genmodels ")
]
SHORT = {
    "train": ["trainer.max_steps=4", "logger=csv", "callbacks.pictures.n=4", "eval_batch_size=4", "data.batch_size=16"]
    + ["evaluator.likelihood.max_samples=4", "evaluator.fid.n=4", "evaluator.inception_score.n=10", "features.steps=5"],
    "evaluate": ["evaluator=[likelihood]", "evaluator.likelihood.max_samples=8"],
    "sample": [],
    "list": [],
    "export": [],
}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("readme") / "run"
    train(train_config(folder, "trainer=smoke", "model.encoder.width=8", "model.decoder.width=8"))
    return folder


def call(monkeypatch, words: list[str]) -> int:
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["genmodels", *words])
    with pytest.raises(SystemExit) as exited:
        main()
    return exited.value.code


def write_images(folder: Path) -> None:
    """Digits under the names that the README gives to a person's own images."""
    digits = load_digits()
    x = (digits.images[:120] * 255 / 16).astype(np.uint8)
    for name, y in (("MINE", None), ("FLAT", None), ("REAL", digits.target)):
        for i, image in enumerate(x):
            file = folder / name / ("" if y is None else str(y[i])) / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
    np.savez(folder / "MINE.npz", x)
    np.savez(folder / "STATISTICS.npz", mu=np.zeros(8), sigma=np.eye(8))


def with_small_features(words: list[str]) -> list[str]:
    """Images scored by a classifier of 8 features, whose labels must come from somewhere, instead of Inception."""
    words = [word.replace("=cifar10", "=digits") for word in words if not word.startswith("features")]
    named = any(word.startswith(("classifier_data=", "reference=digits", "reference=REAL")) for word in words)
    data = [] if named else ["classifier_data=digits"]
    return [*words, *data, "features=classifier", "features.steps=5", "features.width=4", "features.dim=8"]


def cut_short(words: list[str], run_dir: Path) -> list[str]:
    words = [word.replace("RUN_DIR", str(run_dir)) for word in words]
    if any(word.startswith("samples=") for word in words):
        return with_small_features(words)
    if any(word.startswith("resume=") for word in words):
        return [word.replace("=400", "=6") for word in words]
    return [*words, *SHORT[words[0]]]


def test_there_are_commands():
    assert {words[0] for words in COMMANDS} == set(SHORT)
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_runs(words, run_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path)
    copied = shutil.copytree(run_dir, tmp_path / "run")
    assert call(monkeypatch, cut_short(words, copied)) == 0, capsys.readouterr().err
    if words[0] == "sample":
        assert (tmp_path / "grid.png").stat().st_size > 0


def test_the_python_code_runs(run_dir):
    (code,) = (block for kind, block in BLOCKS if kind == "python" and "genmodels.load" in block)
    names: dict = {}
    exec(code.replace("RUN_DIR", str(run_dir)), names)
    assert names["x"].shape == (16, 1, 8, 8) and names["x"].dtype == torch.uint8
    assert names["bpd"].shape == (16,)


def train_with_ones_own(module, group, name, folder, monkeypatch, capsys) -> None:
    """A Python file and a YAML as they stand in the README, and the command that trains with them."""
    (python,) = (block for kind, block in BLOCKS if kind == "python" and f"class {name.capitalize()}" in block)
    (yaml,) = (block for kind, block in BLOCKS if kind == "yaml" and f"{module}.{name.capitalize()}" in block)
    lines = [line for _, block in BLOCKS for line in block.splitlines() if line.startswith("PYTHONPATH=. genmodels")]
    (line,) = (line for line in lines if f"{group}={name}" in line)
    (folder / f"{module}.py").write_text(python)
    (folder / "myconfigs" / group).mkdir(parents=True)
    (folder / "myconfigs" / group / f"{name}.yaml").write_text(yaml)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    words = shlex.split(line)[2:]
    flags = words[words.index("--config-dir") :]
    words = [*words[: -len(flags)], "trainer.max_steps=60", "evaluator=[likelihood]", "logger=csv", "hydra.run.dir=run"]
    assert call(monkeypatch, [*words, *flags]) == 0, capsys.readouterr().err


def test_a_dataset_of_ones_own(tmp_path, monkeypatch, capsys):
    train_with_ones_own("stripes", "data", "stripes", tmp_path, monkeypatch, capsys)
    records = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
    assert records[0]["protocol"]["reference"] == "stripes/test" and records[0]["value"] < 8


def test_a_model_of_ones_own(tmp_path, monkeypatch, capsys):
    train_with_ones_own("mine", "model", "pixels", tmp_path, monkeypatch, capsys)
    with pytest.raises(genmodels.runs.UserError, match="trusted"):
        genmodels.load(tmp_path / "run")
    model = genmodels.load(tmp_path / "run", trusted=["mine"])
    assert model.sample(2).shape == (2, 1, 8, 8)
    sample = ["sample", "run=run", "trusted=[mine]", "out=grid.png"]
    assert call(monkeypatch, sample) == 0, capsys.readouterr().err
