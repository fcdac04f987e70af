"""One hash of the contents of files, cached for as long as the files stay unchanged."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from genmodels.data.files import digest
from genmodels.disk.atomic import replacing
from genmodels.disk.user_cache import cache_dir
from genmodels.errors import UserError


def content_hash(files: Sequence[Path]) -> str:
    """The sha256 of the contents of files, in this order, independent of their paths and dates.

    Raises:
        UserError: a file is not there or cannot be read.
    """
    kept = cache_dir() / "content" / _state(files)
    if kept.is_file():
        return kept.read_text()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = sha256("\n".join(pool.map(lambda file: digest(file, "sha256"), files)).encode()).hexdigest()
    with suppress(OSError), replacing(kept) as file:  # without a cache it is computed again
        file.write(found.encode())
    return found


def _state(files: Sequence[Path]) -> str:
    """A hash of file metadata, which changes if a file was changed or replaced (ctime)."""
    state = sha256()
    for file in files:
        try:
            at = file.stat()
        except OSError as error:
            raise UserError(f"{file} is not there; put it there, or correct data.root or GENMODELS_DATA") from error
        state.update(f"{at.st_dev} {at.st_ino} {at.st_size} {at.st_mtime_ns} {at.st_ctime_ns}\n".encode())
    return state.hexdigest()
