"""Decodes image files such as PNG, JPEG, WebP, BMP and TIFF to their values 0..255.

The header of a file is read first; anything but a still image of 8 bits, or a suspiciously large one, is refused
before it is decoded. Images are rotated by their EXIF orientation, so that they are upright. From a file of several
images by a camera (MPO) the first one is used, which is the photograph.
"""

import re
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
from PIL import ExifTags, Image, ImageOps

from genmodels.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
UNSUPPORTED_SUFFIXES = (
    ".gif",
    ".avif",
    ".heic",
    ".heif",
    ".jp2",
    ".jxl",
    ".tga",
    ".svg",
    ".exr",
    ".dng",
)  # refused, not ignored
GREY, COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr")  # Pillow's modes of 8 bits
DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
)  # raised by Pillow
SIXTEEN = re.compile(r";16[BLN]")  # in Pillow's name of a file's raw mode; Pillow would drop the low bits
UPRIGHT, SIDEWAYS = 1, (5, 6, 7, 8)  # EXIF orientations
MAX_PIXELS = 89_478_485  # of an image; Pillow warns above this, since more may be an attack

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # they are refused here


class Header(NamedTuple):
    """Size and channels of an image, from the header of its file."""

    h: int
    w: int
    c: int  # 1: grey, 3: colour


def header(path: Path) -> Header:
    """Size and channels. Raises UserError unless it is one still image of 8 bits that is not suspiciously large."""
    with _opened(path, path) as image:
        w, h = image.size[::-1] if _orientation(image) in SIDEWAYS else image.size
        return Header(h, w, 1 if image.mode in GREY else 3)


def open_upright(file: Path | BytesIO, name: object, c: int) -> Image.Image:
    """The image, grey (c = 1) or in colour (c = 3); `name` is its name in errors. Raises UserError like `header`.

    Grey images become three equal channels if c is 3; coloured ones are converted to grey (ITU-R 601) if c is 1.
    """
    with _opened(file, name) as image:
        if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            raise UserError(f"{name} has transparent pixels, expected an opaque image; flatten it on a background")
        turned = ImageOps.exif_transpose(image) if _orientation(image) != UPRIGHT else image
        return turned.convert("L" if c == 1 else "RGB")


def decode(path: Path, c: int) -> UInt8[np.ndarray, "c h w"]:
    """The values of an image file, see `open_upright`."""
    return channels_first(open_upright(path, path, c))


def channels_first(image: Image.Image) -> UInt8[np.ndarray, "c h w"]:
    """The values of a grey or coloured image."""
    values = np.asarray(image)  # (h, w) or (h, w, 3)
    return values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)


@contextmanager
def _opened(file: Path | BytesIO, name: object) -> Iterator[Image.Image]:
    """The image before decoding, after a check of its header; errors inside the block become a UserError."""
    try:
        with Image.open(file) as image:
            _require_harmless(image, name)
            yield image
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} has more than {MAX_PIXELS} pixels, which may be an attack; remove it") from error
    except DECODING_ERRORS as error:
        raise UserError(f"{name} cannot be read ({error}), expected a complete image; remove it") from error


def _require_harmless(image: Image.Image, name: object) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise UserError(f"{name} has more than {MAX_PIXELS} pixels, which may be an attack; remove it")
    if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
        raise UserError(f"{name} is an animation of {frames} images, expected a still image; remove it")
    sixteen = any(SIXTEEN.search(str(tile)) for tile in getattr(image, "tile", []))
    mode = f"{image.mode};16" if sixteen and image.mode in GREY + COLOUR else image.mode
    if mode not in GREY + COLOUR:
        raise UserError(f"{name} has values of mode {mode}, expected 8 bits a channel; convert it to 8 bits")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation of the stored image; Pillow itself rotates a TIFF."""
    if "exif" not in image.info or image.format == "TIFF":
        return UPRIGHT
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, UPRIGHT))
    except (*DECODING_ERRORS, TypeError):  # metadata may be damaged without harm to the image
        return UPRIGHT


def images_in(path: Path) -> list[Path]:
    """All image files in a folder and its sub-folders, in the order of their paths; hidden files are ignored.

    Links to files and folders are followed. Raises UserError where there are none, or some of an unsupported kind.
    """
    every = list(_files_in(path, frozenset()))
    if other := next((file for file in every if file.suffix.lower() in UNSUPPORTED_SUFFIXES), None):
        raise UserError(f"{other} is an image of an unsupported kind; convert it to PNG, or remove it")
    found = [file for file in every if file.suffix.lower() in SUFFIXES]
    if not found:
        raise UserError(
            f"{path} has no images, expected {', '.join(SUFFIXES)} files in it or in its sub-folders; "
            "correct the path or convert the images"
        )
    return sorted(found, key=lambda file: file.relative_to(path).parts)


def _files_in(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """All files in a folder and below; a link to one of the folders above it is not followed."""
    real = folder.resolve()
    for entry in () if real in above else folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files_in(entry, above | {real})
        else:
            yield entry
