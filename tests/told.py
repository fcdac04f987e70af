"""Runs the commands of README and docs/ as they are written, cut short, and looks at what some of them made."""

import json
import shutil
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from sklearn.datasets import load_digits

import genmodels
from genmodels.cli.main import main
from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.report.ledger import baselines
from tests.helpers import train_config
from tests.pages import Command, Page

CLASSIFIER = ["features=classifier", "features.steps=5", "features.width=4", "features.dim=8"]
SMALL = ["data.batch_size=16", "eval_batch_size=4"]
WHOLE = [*SMALL, "trainer.max_steps=4", "logger=csv", "callbacks.pictures.n=4", "evaluator.likelihood.max_samples=4"]
WHOLE += ["evaluator.fid.n=4", "evaluator.inception_score.n=10", "features.steps=5"]
LONGER = {"data=stripes": 60, "model=pixels": 60}  # steps of trainings whose result is looked at
cached_baselines = cache(baselines.baselines)  # every experiment composed, which takes seconds


def finished_run(folder: Path) -> Path:
    """A little run with everything that one has."""
    watched = ["callbacks=default", "callbacks.pictures.n=4", "evaluator=[likelihood]"]
    small = ["model.encoder.width=8", "model.decoder.width=8", "features.steps=5"]
    train(train_config(folder, "trainer=smoke", *watched, *small))
    return folder


def call(monkeypatch, words: list[str]) -> int:
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["genmodels", *words])
    with pytest.raises(SystemExit) as exited:
        main()
    return exited.value.code


def write_images(folder: Path) -> None:
    """Digits under the names that the pages give to a person's own images."""
    digits = load_digits()
    x = (digits.images[:120] * 255 / 16).astype(np.uint8)
    for name, y in (("MINE", None), ("FLAT", None), ("REAL", digits.target)):
        for i, image in enumerate(x):
            file = folder / name / ("" if y is None else str(y[i])) / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
    np.savez(folder / "MINE.npz", x)
    np.savez(folder / "STATISTICS.npz", mu=np.zeros(8), sigma=np.eye(8))


def write_files(page: Page, folder: Path, monkeypatch) -> None:
    """The files that stand on the page, where Python and --config-dir find them."""
    for name, text in page.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        monkeypatch.delitem(sys.modules, Path(name).stem, raising=False)
    monkeypatch.syspath_prepend(folder)


def cut_short(words: Command) -> list[str]:
    """The same command with little to do; flags stay at its end."""
    flags = list(words[words.index("--config-dir") :]) if "--config-dir" in words else []
    words = words[: len(words) - len(flags)]
    cut: Callable[[list[str]], list[str]] = CUTS.get(words[0], lambda words: words)
    return [*cut(list(words)), *flags]


def has(words: list[str], *keys: str) -> bool:
    return any(word.startswith(tuple(f"{key}=" for key in keys)) for word in words)


def short_training(words: list[str]) -> list[str]:
    """Of the first one all is done, in small; of the others only what their commands speak of."""
    if has(words, "resume"):
        return [word.replace("=400", "=6") for word in words]
    if words[1:] == ["experiment=digits_vae"]:
        return [*words, *WHOLE]
    steps = next((n for word, n in LONGER.items() if word in words), 4)
    watched = ["logger=csv", "callbacks=none", "evaluator=[likelihood]"]
    more = [*SMALL, f"trainer.max_steps={steps}", *(word for word in watched if not has(words, word.split("=")[0]))]
    if "evaluator=[likelihood]" in more:
        more.append("evaluator.likelihood.max_samples=4")
    return [*words, *(short_sweep(words, more) if "-m" in words else more)]


def short_sweep(words: list[str], more: list[str]) -> list[str]:
    """Jobs that are evaluated once, few where there are many."""
    watched = ["callbacks=[evaluation,checkpoint]", "callbacks.evaluation.every_n_steps=4"]
    fewer = {"sweep=learning_rate": ["optimizer.lr=1e-3"], "sweep=latents": ["hydra.sweeper.n_trials=2"]}
    jobs = [word for sweep, given in fewer.items() if sweep in words for word in given]
    return [*(word for word in more if word != "callbacks=none"), *watched, *jobs]


def short_evaluation(words: list[str]) -> list[str]:
    if has(words, "samples"):
        return with_small_features(words)
    chosen = [] if has(words, "evaluator") else ["evaluator=[likelihood]"]
    likelihood = chosen or any("likelihood" in word for word in words)
    return [*words, *chosen, *(["evaluator.likelihood.max_samples=8"] if likelihood else [])]


def with_small_features(words: list[str]) -> list[str]:
    """Images scored by a classifier of 8 features, whose labels must come from somewhere, instead of Inception."""
    words = [word.replace("=cifar10", "=digits") for word in words if not word.startswith("features")]
    named = any(word.startswith(("classifier_data=", "reference=digits", "reference=REAL")) for word in words)
    return [*words, *([] if named else ["classifier_data=digits"]), *CLASSIFIER]


def without_trainings(words: list[str]) -> list[str]:
    """The ledger takes what is finished, and has another page than ours, which its own test looks after."""
    return [*words, *([] if {"--check", "--collect"} & {*words} else ["--collect"]), "docs=pages"]


CUTS = {"train": short_training, "evaluate": short_evaluation, "reproduce": without_trainings}


def placed(words: list[str], run_dir: Path, folder: Path, number: int) -> list[str]:
    """With a run, a copy for each command, where the pages say RUN_DIR, and below outputs/ where they look there."""
    if "outputs" in words:
        shutil.copytree(run_dir, folder / "outputs" / "digits_vae" / "run")
    if not any("RUN_DIR" in word for word in words):
        return words
    copied = shutil.copytree(run_dir, folder / f"run{number}")
    return [word.replace("RUN_DIR", str(copied)) for word in words]


def run_story(page: Page, story: Iterable[Command], run_dir: Path, folder: Path, monkeypatch, capsys) -> None:
    """A block of commands, one after the other in an empty folder that has what the pages speak of."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("benchmarks.timing.ROUNDS", 1)
    monkeypatch.setattr("genmodels.report.ledger.baselines.baselines", cached_baselines)
    write_images(folder)
    write_files(page, folder, monkeypatch)
    for number, words in enumerate(story):
        given = placed(cut_short(words), run_dir, folder, number)
        assert call(monkeypatch, given) == 0, f"{' '.join(given)}: {capsys.readouterr().err}"
        for word, look in LOOKS.items():
            if word in words and words[0] != "check":  # which leaves nothing
                look(folder, monkeypatch)


def only_run(folder: Path) -> Path:
    (config,) = folder.glob("outputs/*/*/config.yaml")
    return config.parent


def grid_is_there(folder: Path, _) -> None:
    assert (folder / "grid.png").stat().st_size > 0


def stripes_are_learned(folder: Path, _) -> None:
    records = json.loads((only_run(folder) / "results.json").read_text())["results"]
    assert records[0]["protocol"]["reference"] == "stripes/test" and records[0]["value"] < 8


def pixels_are_trusted_by_who_trained_them(folder: Path, monkeypatch) -> None:
    run = only_run(folder)
    assert genmodels.load(run).sample(2).shape == (2, 1, 8, 8)
    for words in (["sample", "out=grid.png"], ["export", "out=exported"], ["evaluate", "evaluator=[likelihood]"]):
        assert call(monkeypatch, [words[0], f"run={run}", *words[1:]]) == 0
    assert call(monkeypatch, ["train", f"resume={run}", "trainer.max_steps=502", "evaluator=[]"]) == 0
    monkeypatch.setenv("GENMODELS_CACHE", str(folder / "of another person"))
    with pytest.raises(UserError, match="trusted"):
        genmodels.load(run)
    assert genmodels.load(run, trusted=["mine"]).sample(2).shape == (2, 1, 8, 8)


def lines_are_written(folder: Path, _) -> None:
    lines = (only_run(folder) / "metrics.jsonl").read_text().splitlines()
    assert "test/bits_per_dim" in json.loads(lines[-1])


def norms_are_logged(folder: Path, _) -> None:
    assert "train/weight_norm" in (only_run(folder) / "metrics.csv").read_text()


def rows_name_the_metric(folder: Path, _) -> None:
    records = json.loads((only_run(folder) / "results.json").read_text())["results"]
    assert [record["metric"] for record in records] == ["fid_rows_100"]


LOOKS = {
    "out=grid.png": grid_is_there,
    "data=stripes": stripes_are_learned,
    "model=pixels": pixels_are_trusted_by_who_trained_them,
    "logger=[csv,lines]": lines_are_written,
    "callbacks=[default,norms]": norms_are_logged,
    "features.name=rows": rows_name_the_metric,
}
