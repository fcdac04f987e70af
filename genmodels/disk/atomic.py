"""Files that are whole or not there: written to a temporary name, flushed to the disk, renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from genmodels.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` once it is whole and on the disk; until then that one stays.

    No two processes write the same temporary file. Where writing fails nothing of it is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_directory(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def require_writable(path: Path) -> None:
    """UserError where nothing could be written at `path`, a file if its name has an ending: asked before the work."""
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if path.is_dir() and path.suffix:
        raise UserError(f"{path} is a folder, expected the name of a file; choose another")
    if there != path and not there.is_dir():
        raise UserError(f"{path} cannot be used, since {there} is a file; correct the path")
    if not os.access(there, os.W_OK):
        raise UserError(f"no permission to write {path}; choose another place")


def _flush_directory(folder: Path) -> None:
    """Makes a new name in the folder survive a loss of power."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def remove_unfinished(folder: Path) -> None:
    """Removes what processes that were killed while they wrote have left; no other may be writing there."""
    for file in folder.rglob(".*.tmp"):
        file.unlink(missing_ok=True)
