"""history.jsonl of a run directory: one line for each start and each end of its training.

The training process locks the file, so that no second process trains in the same directory; the system releases the
lock when the process ends, in whatever way.
"""

import fcntl
import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from genmodels.disk.strict_json import dumps
from genmodels.errors import UserError
from genmodels.run.layout import HISTORY

Event = dict[str, Any]  # a line


class History:
    """The lines of the file so far, and a way to add one."""

    def __init__(self, file: TextIO, writes: bool):
        self.file = file
        self.writes = writes  # only the first process of a run does
        file.seek(0)
        text = file.read()
        self.events = _events(text.splitlines())
        if writes and text and not text.endswith("\n"):  # a process was killed while writing
            file.write("\n")

    def last(self, event: str) -> dict[str, Any]:
        """The newest line of this kind ("start" or "end"); {} where there is none."""
        return next((record for record in reversed(self.events) if record["event"] == event), {})

    def add(self, event: str, **facts: Any) -> None:
        """Adds a line with the event, its time and machine."""
        if self.writes:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            record = {"event": event, "time": now, "host": platform.node(), "torch": version("torch"), **facts}
            self.file.write(dumps(record) + "\n")
            self.file.flush()


def read_events(file: Path) -> tuple[list[Event], str | None]:
    """The starts and ends in the order of the lines, and what is wrong with the file, if anything."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    except (OSError, ValueError) as error:
        return [], f"cannot be read ({error})"
    events = _events(lines)
    lost = len(lines) - len(events)
    if lost > 1 or (lines and not events):
        return events, f"has {lost} unreadable lines of {len(lines)}; they are skipped"
    return events, None


def _events(lines: Sequence[str]) -> list[Event]:
    """The events of the lines; an incomplete line, whose process was killed while writing, is skipped."""
    return [event for line in lines if (event := _parsed(line))]


def _parsed(line: str) -> Event | None:
    try:
        event = json.loads(line)
        when = datetime.fromisoformat(event["time"])
        right = event["event"] in ("start", "end") and isinstance(event["step"], int) and when.tzinfo is not None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return event if right else None


@contextmanager
def history_of(run_dir: Path, *, writes: bool) -> Iterator[History]:
    """A run's history; with `writes` also the lock for training there: UserError where another process holds it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / HISTORY).open("a+") as file:
        if writes:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"another process trains in {run_dir}; wait for its end, or end it") from error
        try:
            yield History(file, writes)
        finally:
            if writes and file.seek(0, os.SEEK_END) == 0:  # the run was refused and leaves no file
                Path(file.name).unlink()
