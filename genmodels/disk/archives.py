"""Zip archives (.npz files, checkpoints) say how large their entries are; what is absurd is refused unread."""

import zipfile
from pathlib import Path

from genmodels.errors import UserError

HARMLESS = 2**30  # bytes that any machine holds


def require_size(file: Path, *, most: float) -> None:
    """UserError where the entries would be more than 1 GB and than `most` times the file, as in a zip bomb.

    Raises zipfile.BadZipFile or OSError where the file is no archive.
    """
    with zipfile.ZipFile(file) as archive:
        declared = sum(entry.file_size for entry in archive.infolist())
    if declared > max(HARMLESS, most * file.stat().st_size):
        raise UserError(
            f"{file} is refused: its {file.stat().st_size} bytes would unpack to {declared}, which may be an attack; "
            "get it anew, or write it without compression"
        )
