"""Atomic writes: a file is written under a temporary name, flushed to the disk, and renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from genmodels.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that replaces `path` once it is complete and on the disk; until then the old file stays.

    Each process writes its own temporary file, which is removed if writing fails.
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
    """Writes a text file completely or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def require_writable(path: Path) -> None:
    """UserError where `path`, a file if its name has a suffix, cannot be written; to be checked before the work."""
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if path.is_dir() and path.suffix:
        raise UserError(f"{path} is a folder, expected the name of a file; choose another")
    if there != path and not there.is_dir():
        raise UserError(f"{path} cannot be used, since {there} is a file; correct the path")
    if not os.access(there, os.W_OK):
        raise UserError(f"no permission to write {path}; choose another place")


def _flush_directory(folder: Path) -> None:
    """Flushes a folder, so that a new name in it survives a power loss."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def remove_unfinished(folder: Path) -> None:
    """Removes temporary files of processes that were killed while writing; no process may be writing there now."""
    for file in folder.rglob(".*.tmp"):
        file.unlink(missing_ok=True)
