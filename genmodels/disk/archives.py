"""Checks the declared size of zip archives (.npz files, checkpoints) before they are read."""

import zipfile
from pathlib import Path

from genmodels.errors import UserError

HARMLESS = 2**30  # bytes that fit into the memory of any machine


def require_size(file: Path, *, most: float) -> None:
    """UserError where the entries are larger than 1 GB and than `most` times the file, as in a zip bomb.

    Raises zipfile.BadZipFile or OSError where the file is not an archive.
    """
    with zipfile.ZipFile(file) as archive:
        declared = sum(entry.file_size for entry in archive.infolist())
    if declared > max(HARMLESS, most * file.stat().st_size):
        raise UserError(
            f"{file} is refused: its {file.stat().st_size} bytes would unpack to {declared}, which may be an attack; "
            "get it again, or write it without compression"
        )
