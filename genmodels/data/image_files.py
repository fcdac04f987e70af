"""Image files, whoever wrote them: PNG, JPEG or WebP, decoded to the values 0..255 that they store.

A file's header is read first, and what is no still image of 8 bits, or suspiciously large, is refused before it is
decoded. The orientation that a camera may have noted beside the values (EXIF) is left alone, as other tools do.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from genmodels.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
GREY, COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr")  # Pillow's modes of 8 bits
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)  # what Pillow raises
MOST_PIXELS = 89_478_485  # of an image, where Pillow begins to warn; more may be an attack

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # they are refused here


class Header(NamedTuple):
    """What a file says of its image before it is decoded."""

    h: int
    w: int
    c: int  # 1: grey, 3: colour


def header(path: Path) -> Header:
    """Size and channels. Raises UserError unless it is one still image of 8 bits that is not suspiciously large."""
    with _opened(path, path) as image:
        return Header(image.height, image.width, 1 if image.mode in GREY else 3)


def load(file: Path | BytesIO, name: object, c: int) -> Image.Image:
    """The image, grey or in colours as `c` is 1 or 3; `name` is what an error calls it. Raises UserError as `header`.

    A grey image has three equal channels where c is 3; a coloured one is weighted to grey (ITU-R 601) where c is 1.
    """
    with _opened(file, name) as image:
        if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            raise UserError(f"{name} has transparent pixels, expected an opaque image; flatten it on a background")
        return image.convert("L" if c == 1 else "RGB")


def decode(path: Path, c: int) -> UInt8[np.ndarray, "c h w"]:
    """The values of an image file, see `load`."""
    return channels_first(load(path, path, c))


def channels_first(image: Image.Image) -> UInt8[np.ndarray, "c h w"]:
    """The values of a grey or coloured image."""
    values = np.asarray(image)  # (h, w) or (h, w, 3)
    return values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)


@contextmanager
def _opened(file: Path | BytesIO, name: object) -> Iterator[Image.Image]:
    """The image before it is decoded, once its header is found harmless; what goes wrong inside is a UserError."""
    try:
        with Image.open(file) as image:
            _require_harmless(image, name)
            yield image
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} has more than {MOST_PIXELS} pixels, which may be an attack; take it away") from error
    except BROKEN as error:
        raise UserError(
            f"{name} cannot be read ({error}), expected a whole PNG, JPEG or WebP image; take it away"
        ) from error


def _require_harmless(image: Image.Image, name: object) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise UserError(f"{name} has more than {MOST_PIXELS} pixels, which may be an attack; take it away")
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise UserError(f"{name} is an animation of {frames} images, expected a still one; take it away")
    if image.mode not in GREY + COLOUR:
        raise UserError(f"{name} has values of mode {image.mode}, expected 8 bits a channel; convert it to 8 bits")


def images_in(path: Path) -> list[Path]:
    """All image files in a folder and its sub-folders, in the order of their paths; what is hidden is passed over."""
    found = [
        file
        for file in path.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
        and file.is_file()
    ]
    if not found:
        raise UserError(
            f"{path} has no images, expected {', '.join(SUFFIXES)} files in it or in its sub-folders; "
            "correct the path or convert the images"
        )
    return sorted(found, key=lambda file: file.relative_to(path).parts)
