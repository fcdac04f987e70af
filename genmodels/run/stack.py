"""error.log of a run directory: the traceback of an unexpected error that ended a training."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genmodels.failures import is_explained
from genmodels.run.layout import STACK


@contextmanager
def stack_kept_in(run_dir: Path, *, rank: int, world: int) -> Iterator[None]:
    """Writes the traceback of an exception that `explain` does not know into the run directory (error.log or
    error_rank3.log), and adds a note with the file's path to the exception."""
    try:
        yield
    except Exception as error:
        file = run_dir / (STACK if world == 1 else f"error_rank{rank}.log")
        if not is_explained(error):
            with suppress(OSError):
                run_dir.mkdir(parents=True, exist_ok=True)
                file.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
                error.add_note(f"the stack is in {file}")
        raise
