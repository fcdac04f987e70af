"""One image file, whoever wrote it: PNG, JPEG or WebP, decoded to the values 0..255 that it stores."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from genmodels.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
GREY, COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr")  # Pillow's modes of 8 bits
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)  # what Pillow raises


class Header(NamedTuple):
    """What a file says of its image before it is decoded."""

    h: int
    w: int
    c: int  # 1: grey, 3: colour


def header(path: Path) -> Header:
    """Size and channels. Raises UserError unless it is one still image of 8 bits that is not suspiciously large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                frames, mode, (w, h) = getattr(image, "n_frames", 1), image.mode, image.size
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = Image.MAX_IMAGE_PIXELS
        raise UserError(f"{path} has more than {limit} pixels, which may be an attack; take it away") from error
    except BROKEN as error:
        raise broken(path, error) from error
    if frames > 1:
        raise UserError(f"{path} is an animation of {frames} images, expected a still one; take it away")
    if mode not in GREY + COLOUR:
        raise UserError(f"{path} has values of mode {mode}, expected 8 bits a channel; convert it to 8 bits")
    return Header(h, w, 1 if mode in GREY else 3)


def decode(path: Path, c: int) -> np.ndarray:
    """The image as uint8 (c, h, w); a grey one as three equal channels where c is 3."""
    try:
        with Image.open(path) as image:
            if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
                raise UserError(f"{path} has transparent pixels, expected an opaque image; flatten it on a background")
            values = np.asarray(image.convert("L" if c == 1 else "RGB"))  # (h, w) or (h, w, 3)
    except BROKEN as error:
        raise broken(path, error) from error
    return values[None] if c == 1 else np.moveaxis(values, -1, 0)


def broken(path: Path, error: BaseException) -> UserError:
    """The error of a file that is no whole image."""
    return UserError(f"{path} cannot be read ({error}), expected a whole PNG, JPEG or WebP image; take it away")
