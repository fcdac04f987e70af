"""Grids of samples as text that a page can hold, smaller the more there are."""

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
WIDTHS = (800, 480, 320, 200, 120)  # pixels; the first at which the pictures are small enough together
BYTES_PER_COLUMN = 75  # of a file that is kept as it is
MOST_PIXELS = 40_000_000  # pixels of a picture that is opened


def last_grid(run_dir: Path) -> bytes | None:
    """The newest grid of a run, as its PNG file; None where it has none.

    Raises:
        UserError: the file is no picture, or is too large to be opened.
    """
    file = run_dir / NEWEST_GRID
    if not file.is_file():
        return None
    try:
        content = file.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise UserError(f"{file} has {picture.width} x {picture.height} pixels, too many to be shown")
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} is no picture that can be read") from error
    return content


def as_urls(pictures: Mapping[K, bytes]) -> dict[K, str]:
    """PNG files as data: URLs, all by one rule, at which the largest of them, so many times, would not be too large."""
    if not pictures:
        return {}
    largest = max(pictures.values(), key=len)
    sizes = {width: len(pictures) * len(smaller(largest, width)[0]) for width in WIDTHS}
    width = next((width for width, size in sizes.items() if size <= OF_PAGE_BYTES), WIDTHS[-1])
    return {key: _url(*smaller(content, width)) for key, content in pictures.items()}


def _url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def smaller(png: bytes, width: int) -> tuple[bytes, str]:
    """The file and its kind: itself where it is small, else as WebP of at most that width."""
    if len(png) <= BYTES_PER_COLUMN * width:
        return png, "png"
    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        height = max(1, round(picture.height * min(1, width / picture.width)))
        resized = picture.convert("RGB").resize((min(width, picture.width), height), Image.Resampling.BOX)
    file = io.BytesIO()
    resized.save(file, format="WEBP", quality=80, method=2)
    return file.getvalue(), "webp"
