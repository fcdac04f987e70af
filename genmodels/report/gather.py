"""The runs below some directories, as data: what they are, how they ended, what they measured.

Run directories come from anywhere. Their configs are read and never built, and a file that cannot be believed is
skipped, with the reason.
"""

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genmodels.errors import UserError
from genmodels.evaluators.results import Record
from genmodels.families import family_of
from genmodels.report.older import as_record
from genmodels.report.past import Past, Status, past
from genmodels.run.results import read_results
from genmodels.trust import read_config, refused

Curves = dict[str, list[tuple[float, float]]]  # column -> (images_seen, value) of every row that has both

Track = Callable[[Sequence[Any]], Iterable[Any]]  # gives each element in turn, such as rich.progress.track

INSIDE = ("checkpoints", "samples", "tensorboard")  # of a run: no runs lie there
PARTS = ("data", "model", "trainer", "seed", "name")  # of every run's config


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run directory."""

    path: Path
    name: str  # of the experiment
    dataset: str
    model: str  # the name of its class
    family: str
    seed: int
    config: dict[str, Any]
    records: list[Record]  # of results.json, in its order
    status: Status
    error: str | None  # the sentence that says what it failed of, or why it was pruned
    step: int
    images_seen: int
    seconds: float | None  # of training and test over all starts whose end is known
    seconds_per_image: float | None  # over these starts
    killed: int  # starts without an end
    hardware: str | None
    commit: str | None
    overrides: tuple[str, ...]  # of a sweep's job


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was left out."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Gathered:
    """What was found, in the order of the paths."""

    runs: list[Run]
    skipped: list[Skipped]


def gather(paths: Sequence[Path], track: Track = iter) -> Gathered:
    """The runs in these directories and below them, each once; `track` shows how far it is.

    Raises:
        UserError: a path does not exist.
    """
    found = Gathered([], [])
    folders: dict[Path, Path] = {}  # by where they really lie
    for path in (path.expanduser() for path in paths):
        if not path.exists():
            raise UserError(f"{path} does not exist; give run directories, sweep directories or folders of them")
        below = list(_folders(path, found.skipped)) if path.is_dir() else []
        if not below:
            found.skipped.append(Skipped(path, "has no run in it" if path.is_dir() else "is a file, no folder"))
        for folder in below:
            folders.setdefault(folder.resolve(), folder)
    for folder in track(list(folders.values())):
        _add(folder, found)
    return found


def _folders(path: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """Folders of runs, of jobs that never began, and of results that are no run's, in the order of their names."""

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(Path(error.filename), f"cannot be read ({error.strerror})"))

    for place, folders, files in os.walk(path, onerror=unreadable):
        is_run = "config.yaml" in files
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and f != "wandb" and not (is_run and f in INSIDE)
        )
        if is_run or "results.json" in files or "job.json" in files:
            yield Path(place)


def _add(folder: Path, found: Gathered) -> None:
    """Reads one folder; what is wrong in it is noted, and takes nothing with it that is right."""
    try:
        config = _config(folder)
    except (UserError, OSError) as error:
        found.skipped.append(Skipped(folder, _reason(error, folder / "config.yaml")))
        return
    file = folder / "results.json"
    try:
        records = [as_record(plain, config) for plain in read_results(file)]
    except (UserError, OSError) as error:
        records = []
        found.skipped.append(Skipped(file, _reason(error, file)))
    history = past(folder)
    if history.damaged:
        found.skipped.append(Skipped(folder / "history.jsonl", history.damaged))
    found.runs.append(_run(folder, config, records, history))


def _reason(error: UserError | OSError, file: Path) -> str:
    """What is wrong, without the name of the file, which stands beside it."""
    return str(error).removeprefix(f"{file} ") if isinstance(error, UserError) else f"cannot be read ({error.strerror})"


def _config(folder: Path) -> dict[str, Any]:
    """The config of a run. Raises UserError where there is none, or it is not that of a run."""
    file = folder / "config.yaml"
    if not file.is_file() and (folder / "job.json").is_file():
        raise UserError(f"is a job of a sweep that never began{f': {why}' if (why := past(folder).error) else ''}")
    if not file.is_file():
        raise UserError("has results and no config.yaml: they are of images that no run of genmodels drew")
    config = read_config(file)
    if "exported" in config:
        raise UserError("is an export; give the run that it is of")
    if missing := [part for part in PARTS if part not in config]:
        raise UserError(f"is no run: its config.yaml has no {missing[0]}")
    right = {"data": dict, "model": dict, "trainer": dict, "seed": int, "name": str}
    if wrong := [part for part, kind in right.items() if not isinstance(config[part], kind)]:
        raise refused(file, f"has a {wrong[0]} that is {config[wrong[0]]!r}")
    return config


def _run(folder: Path, config: dict[str, Any], records: list[Record], history: Past) -> Run:
    target = str(config["model"].get("_target_", "unknown"))
    return Run(
        path=folder,
        name=config["name"],
        dataset=str(config["data"].get("name", "unknown")),
        model=target.rpartition(".")[2],
        family=family_of(target),
        seed=config["seed"],
        config=config,
        records=records,
        status=history.status,
        error=history.error,
        step=history.step,
        images_seen=history.images_seen,
        seconds=history.seconds,
        seconds_per_image=history.seconds_per_image,
        killed=history.killed,
        hardware=history.hardware,
        commit=history.commit,
        overrides=_overrides(folder / "job.json"),
    )


def _overrides(file: Path) -> tuple[str, ...]:
    """What a sweep set for this job; nothing where the run is no job of one."""
    try:
        overrides = json.loads(file.read_text(encoding="utf-8"))["overrides"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return ()
    return tuple(map(str, overrides)) if isinstance(overrides, list) else ()


def curve(run: Run) -> Curves:
    """The columns of metrics.csv over images_seen; numbers that are not finite are left out.

    Raises:
        UserError: the file is no table of metrics.
    """
    file = run.path / "metrics.csv"
    if not file.is_file():
        return {}
    curves: Curves = {}
    try:
        text = file.read_text(encoding="utf-8")
        header, *rows = csv.reader(text[: text.rfind("\n") + 1].splitlines())
        if header[:1] != ["images_seen"]:
            raise ValueError("its first column is not images_seen")
        for row in rows:
            x = float(row[0])
            for name, value in zip(header[1:], row[1:], strict=True):
                if value and name != "step" and math.isfinite(y := float(value)):
                    curves.setdefault(name, []).append((x, y))
    except (ValueError, IndexError, csv.Error, OSError) as error:
        raise UserError(
            f"{file} is no table of metrics that genmodels wrote ({error}); its curves are left out"
        ) from error
    return curves
