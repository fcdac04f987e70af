"""The directory of a sweep: one process works on it, with what it was begun, and a command goes on with it."""

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

FILE = "sweep.json"


def command(words: Sequence[str], sweep_dir: str) -> str:
    """The command line that goes on with a sweep, from the one that began it."""
    named = any(word.startswith(("sweep=", "hydra.sweep.dir=")) for word in words)
    place = [] if named else [f"hydra.sweep.dir={sweep_dir}"]
    at = next((i for i, word in enumerate(words) if "=" in word and not word.startswith("-")), len(words))
    return shlex.join(["genmodels", "train", *words[:at], *place, *words[at:]])  # argparse wants overrides together


@contextmanager
def held(sweep_dir: Path) -> Iterator[None]:
    """Makes the directory and holds it for this process; the system lets go when the process is gone.

    Raises:
        UserError: another process works on the sweep, or a single run lies there.
    """
    if sweep_dir.is_file() or (sweep_dir / CONFIG).exists():
        raise UserError(
            f"{sweep_dir} is a {'file' if sweep_dir.is_file() else 'run'} and no sweep; choose another hydra.sweep.dir"
        )
    sweep_dir.mkdir(parents=True, exist_ok=True)
    with (sweep_dir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process works on the sweep in {sweep_dir}; wait for its end, or choose another directory"
            ) from error
        yield


def begin(sweep_dir: Path, facts: Mapping[str, Any]) -> None:
    """Writes down what a sweep is begun with.

    Raises:
        UserError: a study lies there that was begun with something else, which its proposals would not fit.
    """
    file = sweep_dir / FILE
    before = _read(file) if file.exists() else dict(facts)
    studies = {before["search"], facts["search"]} - {"grid"}
    if studies and (differ := changes(before, facts)):
        key, (old, new) = next(iter(differ.items()))
        more = f" (and {len(differ) - 1} more)" if len(differ) > 1 else ""
        raise UserError(
            f"the {before['search']} search in {sweep_dir} was begun with {key.removeprefix('config.')}={old}, and now "
            f"it is {new}{more}; set it as it was, or choose another hydra.sweep.dir"
        )
    write_text(file, json.dumps(facts, indent=2) + "\n")


def _read(file: Path) -> dict[str, Any]:
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or "search" not in facts:
        raise UserError(f"{file} is damaged; remove it, if the sweep is to go on as it is given now")
    return facts
