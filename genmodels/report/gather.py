"""The runs below some directories, as data: what they are, how they ended, what they measured.

Run directories come from anywhere. Their configs are read and never built, and a file that cannot be believed is
skipped, with the reason.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genmodels.errors import UserError
from genmodels.run import layout
from genmodels.run.run import Run

Track = Callable[[Sequence[Any]], Iterable[Any]]  # gives each element in turn, such as rich.progress.track


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
        is_run = layout.CONFIG in files
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and f != "wandb" and not (is_run and f in layout.FOLDERS)
        )
        if is_run or layout.RESULTS in files or layout.JOB in files:
            yield Path(place)


def _add(folder: Path, found: Gathered) -> None:
    """Reads one folder; what is wrong in it is noted, and takes nothing with it that is right."""
    run = Run(folder)
    config, results = (run.file(name) for name in (layout.CONFIG, layout.RESULTS))
    try:
        _require_config(run)
    except (UserError, OSError) as error:
        found.skipped.append(Skipped(folder, _reason(error, config)))
        return
    try:
        _ = run.results
    except (UserError, OSError) as error:
        run.results = []
        found.skipped.append(Skipped(results, _reason(error, results)))
    if run.status.damaged:
        found.skipped.append(Skipped(run.file(layout.HISTORY), run.status.damaged))
    found.runs.append(run)


def _require_config(run: Run) -> None:
    """UserError where the folder is that of a job that never began, or of results of images."""
    if not run.file(layout.CONFIG).is_file() and run.file(layout.JOB).is_file():
        raise UserError(f"is a job of a sweep that never began{f': {why}' if (why := run.status.error) else ''}")
    if not run.file(layout.CONFIG).is_file():
        raise UserError("has results and no config.yaml: they are of images that no run of genmodels drew")
    _ = run.config


def _reason(error: UserError | OSError, file: Path) -> str:
    """What is wrong, without the name of the file or its folder, which stands beside it."""
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror})"
    return str(error).removeprefix(f"{file} ").removeprefix(f"{file.parent} ")
