"""The runs below some directories: their settings, status and results.

Run directories may come from anybody. Their configs are read and never instantiated; an invalid file is skipped, with
the reason.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from genmodels.errors import UserError
from genmodels.run import layout
from genmodels.run.run import Run

T = TypeVar("T")
Track = Callable[[Sequence[Any]], Iterable[Any]]  # yields each element, such as rich.progress.track


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was left out."""

    path: Path
    reason: str


@dataclass(frozen=True)
class FoundRuns:
    """The found runs, in the order of the paths, and what was skipped."""

    runs: list[Run] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, path: Path, why: str | OSError) -> None:
        reason = f"cannot be read ({why.strerror})" if isinstance(why, OSError) else why
        self.skipped.append(Skipped(path, reason))

    def read(self, path: Path, read: Callable[[], T]) -> T | None:
        """The result of `read`, for this file or folder; None where that is invalid, which is noted."""
        try:
            return read()
        except OSError as error:
            self.skip(path, error)
        except UserError as error:
            self.skip(path, str(error).removeprefix(f"{path / layout.CONFIG} ").removeprefix(f"{path} "))
        return None


def gather(paths: Sequence[Path], track: Track = iter) -> FoundRuns:
    """The runs in these directories and below them, each once; `track` shows progress.

    Raises:
        UserError: a path does not exist.
    """
    found = FoundRuns()
    folders: dict[Path, Path] = {}  # by their resolved paths
    for path in (path.expanduser() for path in paths):
        if not path.exists():
            raise UserError(f"{path} does not exist; give run directories, sweep directories or folders of them")
        below = list(_folders(path, found)) if path.is_dir() else []
        if not below:
            found.skip(path, "has no run in it" if path.is_dir() else "is a file, not a folder")
        for folder in below:
            folders.setdefault(folder.resolve(), folder)
    for folder in track(list(folders.values())):
        _add(Run(folder), found)
    return found


def _folders(path: Path, found: FoundRuns) -> Iterator[Path]:
    """Folders of runs, of jobs that never started, and of results without a run, in the order of their names."""
    for place, folders, files in os.walk(
        path, onerror=lambda e: found.skip(Path(e.filename), f"cannot be read ({e.strerror})")
    ):
        is_run = layout.CONFIG in files
        passed = {"wandb", *(layout.FOLDERS if is_run else ())}
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in passed)
        if is_run or layout.RESULTS in files or layout.JOB in files:
            yield Path(place)


def _add(run: Run, found: FoundRuns) -> None:
    """Reads one folder; invalid files in it are noted, and the valid ones are kept."""
    if found.read(run.path, lambda: _config(run)) is None:
        return
    results = run.file(layout.RESULTS)
    run.results = found.read(results, lambda: run.results) or []
    if run.status.damaged:
        found.skip(run.file(layout.HISTORY), run.status.damaged)
    found.runs.append(run)


def _config(run: Run) -> dict[str, Any]:
    """The config; UserError where the folder is of a job that never started, or has results of images."""
    if run.file(layout.CONFIG).is_file():
        return run.config
    if run.file(layout.JOB).is_file():
        raise UserError(f"is a job of a sweep that never started{f': {why}' if (why := run.status.error) else ''}")
    raise UserError("has results and no config.yaml: they are of images that another program made")
