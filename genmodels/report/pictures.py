"""Grids of samples as URLs for a page; the more there are, the smaller each is."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from PIL import Image

from genmodels.errors import UserError
from genmodels.run.layout import NEWEST_GRID

K = TypeVar("K")

OF_PAGE_BYTES = 6_000_000  # bytes of a page's pictures, before base64
WIDTHS = (800, 480, 320, 200, 120)  # pixels, tried one after the other
MOST_OPENED = 40_000_000  # pixels of a picture that is opened


def last_grid(run_dir: Path) -> bytes | None:
    """The newest grid of a run as PNG bytes; None where it has none.

    Raises:
        UserError: the file is not a picture, or is too large to be opened.
    """
    file = run_dir / NEWEST_GRID
    if not file.is_file():
        return None
    try:
        content = file.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.width * picture.height > MOST_OPENED:
                raise UserError(f"{file} has {picture.width} x {picture.height} pixels, too many to be shown")
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} is not a readable picture") from error
    return content


def as_urls(pictures: Mapping[K, bytes]) -> dict[K, str]:
    """PNG files as data: URLs; a picture that takes more than its part of the page is made smaller."""
    room = OF_PAGE_BYTES // max(1, len(pictures))
    return {key: _url(png, room) for key, png in pictures.items()}


def _url(png: bytes, room: int) -> str:
    kind, content = "png", png
    for width in WIDTHS:
        if len(content) <= room:
            break
        kind, content = "webp", _webp(png, width)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _webp(png: bytes, width: int) -> bytes:
    """The picture with at most this width."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        height = max(1, round(picture.height * min(1, width / picture.width)))
        resized = picture.convert("RGB").resize((min(width, picture.width), height), Image.Resampling.BOX)
        resized.save(file, format="WEBP", quality=80, method=2)
    return file.getvalue()
