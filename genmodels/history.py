"""history.jsonl of a run directory: one line for each time that its training began or ended.

The process that trains holds the file locked, so that no second one trains in the same directory; the system releases
the lock when the process is gone, however it went.
"""

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import torch

from genmodels.disk.strict_json import dumps
from genmodels.errors import UserError


class History:
    """The lines of the file so far, and a way to add one."""

    def __init__(self, file: TextIO, writes: bool):
        self.file = file
        self.writes = writes  # only the first process of a run does
        file.seek(0)
        text = file.read()
        self.events = [event for line in text.splitlines() if (event := _parsed(line))]
        if writes and text and not text.endswith("\n"):  # its process was killed while it wrote
            file.write("\n")

    def last(self, event: str) -> dict[str, Any]:
        """The newest line of a kind ("start" or "end"); empty where there is none."""
        return next((record for record in reversed(self.events) if record["event"] == event), {})

    def add(self, event: str, **facts: Any) -> None:
        """Adds a line that says what happened, when and where."""
        if self.writes:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            record = {"event": event, "time": now, "host": platform.node(), "torch": torch.__version__, **facts}
            self.file.write(dumps(record) + "\n")
            self.file.flush()


def _parsed(line: str) -> dict[str, Any] | None:
    """A line's record; None for one that was cut off when its process was killed."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


@contextmanager
def history_of(run_dir: Path, *, writes: bool) -> Iterator[History]:
    """A run's history; for who writes it also the right to train there, which a second process is refused."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / "history.jsonl").open("a+") as file:
        if writes:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"another process trains in {run_dir}; wait for its end, or end it") from error
        try:
            yield History(file, writes)
        finally:
            if writes and file.seek(0, os.SEEK_END) == 0:  # the run was refused: it leaves nothing
                Path(file.name).unlink()
