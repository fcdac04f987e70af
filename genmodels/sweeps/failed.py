"""Jobs of a sweep that failed: each leaves its sentence in its directory, and all are listed at the end."""

import sys
from pathlib import Path

from genmodels.run.layout import FAILED


class JobFailed(Exception):
    """A job of a sweep failed; comes from where a launcher ran it, perhaps another machine, to where -m was given."""

    def __init__(self, status: int, sweep_dir: str):
        super().__init__(status, sweep_dir)
        self.status, self.sweep_dir = status, Path(sweep_dir)


def list_failures(sweep_dir: Path) -> None:
    """Prints the jobs of a sweep that failed, each with its sentence."""
    print(f"genmodels: these jobs of {sweep_dir} failed:", file=sys.stderr)
    for file in sorted(sweep_dir.rglob(FAILED)):
        print(f"  {file.parent.relative_to(sweep_dir)}: {file.read_text().strip()}", file=sys.stderr)
