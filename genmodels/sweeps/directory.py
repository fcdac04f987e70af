"""The directory of a sweep: its lock, the settings that it was started with, and the command that continues it."""

import fcntl
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genmodels.config.changes import changes
from genmodels.disk.atomic import write_text
from genmodels.errors import UserError
from genmodels.run.layout import CONFIG

SWEEP_FILE = "sweep.json"


def command(words: Sequence[str], sweep_dir: str) -> str:
    """The command line that continues a sweep, from the one that started it."""
    named = any(word.startswith(("sweep=", "hydra.sweep.dir=")) for word in words)
    place = [] if named else [f"hydra.sweep.dir={sweep_dir}"]
    at = next((i for i, word in enumerate(words) if "=" in word and not word.startswith("-")), len(words))
    return shlex.join(
        ["genmodels", "train", *words[:at], *place, *words[at:]]
    )  # argparse needs the overrides in one block


@contextmanager
def held(sweep_dir: Path) -> Iterator[None]:
    """Makes the directory and locks it for this process; the system releases the lock when the process ends.

    Raises:
        UserError: another process works on the sweep, or the directory is a single run.
    """
    if sweep_dir.is_file() or (sweep_dir / CONFIG).exists():
        raise UserError(
            f"{sweep_dir} is a {'file' if sweep_dir.is_file() else 'run'}, expected a sweep; choose another "
            "hydra.sweep.dir"
        )
    sweep_dir.mkdir(parents=True, exist_ok=True)
    with (sweep_dir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process works on the sweep in {sweep_dir}; wait until it ends, or choose another directory"
            ) from error
        yield


def begin(sweep_dir: Path, facts: Mapping[str, Any]) -> None:
    """Writes the settings that a sweep starts with into sweep.json.

    Raises:
        UserError: the directory has a search with other settings, whose proposals would not fit these.
    """
    file = sweep_dir / SWEEP_FILE
    before = _read(file) if file.exists() else dict(facts)
    studies = {before["search"], facts["search"]} - {"grid"}
    if studies and (differ := changes(before, facts)):
        key, (old, new) = next(iter(differ.items()))
        more = f" (and {len(differ) - 1} more)" if len(differ) > 1 else ""
        raise UserError(
            f"the {before['search']} search in {sweep_dir} was started with {key.removeprefix('config.')}={old}, and "
            f"now it is {new}{more}; set it as before, or choose another hydra.sweep.dir"
        )
    write_text(file, json.dumps(facts, indent=2) + "\n")


def _read(file: Path) -> dict[str, Any]:
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or "search" not in facts:
        raise UserError(f"{file} is damaged; remove it, if the sweep shall continue with the present settings")
    return facts
