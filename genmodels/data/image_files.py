"""Image files, whoever wrote them, such as PNG, JPEG, WebP, BMP and TIFF, decoded to the values 0..255 that they store.

A file's header is read first, and what is no still image of 8 bits, or suspiciously large, is refused before it is
decoded. An image is turned as the camera has noted (EXIF), so that it is upright. Of what a camera keeps in one file
(MPO) the first image is taken, which is the photograph.
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
)  # refused, not passed over
GREY, COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr")  # Pillow's modes of 8 bits
DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
)  # what Pillow raises
SIXTEEN = re.compile(r";16[BLN]")  # in how a file stores colours, in Pillow's words, which would drop the low bits
UPRIGHT, SIDEWAYS = 1, (5, 6, 7, 8)  # EXIF's numbers
MAX_PIXELS = 89_478_485  # of an image, where Pillow begins to warn; more may be an attack

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # they are refused here


class Header(NamedTuple):
    """What a file says of its image before it is decoded."""

    h: int
    w: int
    c: int  # 1: grey, 3: colour


def header(path: Path) -> Header:
    """Size and channels. Raises UserError unless it is one still image of 8 bits that is not suspiciously large."""
    with _opened(path, path) as image:
        w, h = image.size[::-1] if _orientation(image) in SIDEWAYS else image.size
        return Header(h, w, 1 if image.mode in GREY else 3)


def open_upright(file: Path | BytesIO, name: object, c: int) -> Image.Image:
    """The image, grey or in colours as `c` is 1 or 3; `name` is what an error calls it. Raises UserError as `header`.

    A grey image has three equal channels where c is 3; a coloured one is weighted to grey (ITU-R 601) where c is 1.
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
    """The image before it is decoded, once its header is found harmless; what goes wrong inside is a UserError."""
    try:
        with Image.open(file) as image:
            _require_harmless(image, name)
            yield image
    except Image.DecompressionBombError as error:
        raise UserError(f"{name} has more than {MAX_PIXELS} pixels, which may be an attack; take it away") from error
    except DECODING_ERRORS as error:
        raise UserError(f"{name} cannot be read ({error}), expected a whole image; take it away") from error


def _require_harmless(image: Image.Image, name: object) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise UserError(f"{name} has more than {MAX_PIXELS} pixels, which may be an attack; take it away")
    if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
        raise UserError(f"{name} is an animation of {frames} images, expected a still one; take it away")
    sixteen = any(SIXTEEN.search(str(tile)) for tile in getattr(image, "tile", []))
    mode = f"{image.mode};16" if sixteen and image.mode in GREY + COLOUR else image.mode
    if mode not in GREY + COLOUR:
        raise UserError(f"{name} has values of mode {mode}, expected 8 bits a channel; convert it to 8 bits")


def _orientation(image: Image.Image) -> int:
    """How the stored image lies, by EXIF's number; Pillow turns a TIFF by itself."""
    if "exif" not in image.info or image.format == "TIFF":
        return UPRIGHT
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, UPRIGHT))
    except (*DECODING_ERRORS, TypeError):  # what is noted beside an image may be damaged without harm to it
        return UPRIGHT


def images_in(path: Path) -> list[Path]:
    """All image files in a folder and its sub-folders, in the order of their paths; what is hidden is passed over.

    Links to files and folders are followed. Raises UserError where there are none, or some of a kind that is not read.
    """
    every = list(_files_in(path, frozenset()))
    if other := next((file for file in every if file.suffix.lower() in UNSUPPORTED_SUFFIXES), None):
        raise UserError(f"{other} is an image of a kind that is not read; convert it to PNG, or take it away")
    found = [file for file in every if file.suffix.lower() in SUFFIXES]
    if not found:
        raise UserError(
            f"{path} has no images, expected {', '.join(SUFFIXES)} files in it or in its sub-folders; "
            "correct the path or convert the images"
        )
    return sorted(found, key=lambda file: file.relative_to(path).parts)


def _files_in(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """What lies in a folder and below; a link to a folder that it lies in itself leads nowhere."""
    real = folder.resolve()
    for entry in () if real in above else folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files_in(entry, above | {real})
        else:
            yield entry
