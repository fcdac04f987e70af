"""Failed jobs of a sweep: each has the reason in its directory, and all are listed at the end."""

import sys
from pathlib import Path

from genmodels.run.layout import FAILED


class JobFailed(Exception):
    """A job of a sweep failed; launchers pass it from the job's process, perhaps on another machine, to the sweep."""

    def __init__(self, status: int, sweep_dir: str):
        super().__init__(status, sweep_dir)
        self.status, self.sweep_dir = status, Path(sweep_dir)


def list_failures(sweep_dir: Path) -> None:
    """Prints the failed jobs of a sweep, each with the reason."""
    print(f"genmodels: these jobs of {sweep_dir} failed:", file=sys.stderr)
    for file in sorted(sweep_dir.rglob(FAILED)):
        print(f"  {file.parent.relative_to(sweep_dir)}: {file.read_text().strip()}", file=sys.stderr)
