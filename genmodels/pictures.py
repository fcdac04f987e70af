"""Turns data into pictures for people: grids, stacked rows, film strips, with captions.

Small images are magnified by an integer factor, so that the pixels of an 8x8 digit stay
sharp squares. All images of one picture have the same shape, with 1 or 3 channels.
"""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from math import ceil, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Integer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from genmodels.disk.atomic import replacing
from genmodels.errors import UserError
from genmodels.units import to_pixels

PICTURE_SIDE = 800  # pixels, about, of the longer side of a picture: images are magnified up to it, never shrunk
MIN_IMAGE_WIDTH = 32  # pixels, however many images there are
BORDER, WIDEST_BORDER = 2, 8  # limits in pixels; the border is half a magnified pixel
GREY, WHITE = 96, 255  # of the border, which differs from black and white backgrounds; of captions
LETTERS, LINE, PADDING = 13, 20, 6  # pixels: size of captions, height of a line, room around them
MOST_COLUMNS = 20  # one for each class

Images = Integer[Tensor, "n c h w"]
Cell = tuple[int, int]  # (row, column)


class Captions(NamedTuple):
    """The texts of a picture."""

    title: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[str] = ()  # repeated where there are more rows


NO_CAPTIONS = Captions()


def grid(
    x: Images, levels: int, columns: int | None = None, scale: int | None = None, captions: Captions = NO_CAPTIONS
) -> Image.Image:
    """Images row by row; `columns` None: a square; `scale` None: the integer factor that fits a screen."""
    columns = columns or ceil(sqrt(len(x)))
    return mosaic(x, levels, [divmod(i, columns) for i in range(len(x))], scale, captions)


def by_class(x: Images, labels: Int[Tensor, " n"], levels: int, scale: int | None = None) -> Image.Image:
    """One column for each class that occurs, in order; a square where there is one class, or more than MOST_COLUMNS."""
    classes = labels.unique().tolist()
    if not 2 <= len(classes) <= MOST_COLUMNS:
        of = f"class {classes[0]}" if len(classes) == 1 else f"{len(classes)} classes"
        return grid(x, levels, scale=scale, captions=Captions(f"samples of {of}"))
    cells, filled = [], Counter[int]()
    for label in labels.tolist():
        cells.append((filled[label], classes.index(label)))
        filled[label] += 1
    return mosaic(x, levels, cells, scale, Captions("samples of each class", [str(label) for label in classes]))


def single(x: Integer[Tensor, "c h w"], levels: int) -> Image.Image:
    """One image without magnification or border, for programs that score images."""
    pixels = to_pixels(x, levels).permute(1, 2, 0).cpu().numpy()  # (h, w, c)
    return Image.fromarray(pixels[..., 0] if len(x) == 1 else pixels)


def stacked(
    rows: Sequence[Images],
    levels: int,
    columns: int | None = None,
    scale: int | None = None,
    captions: Captions = NO_CAPTIONS,
) -> Image.Image:
    """Image i of each row directly above image i of the next row, such as an original above its reconstruction."""
    k, n = len(rows), len(rows[0])
    columns = columns or ceil(sqrt(k * n))
    cells = [(k * (i // columns) + j, i % columns) for j in range(k) for i in range(n)]
    return mosaic(torch.cat(list(rows)), levels, cells, scale, captions)


def film_strip(
    film: Sequence[Images], levels: int, scale: int | None = None, captions: Captions = NO_CAPTIONS
) -> Image.Image:
    """One row for each sample, one column for each moment of `film`, first to last."""
    x = torch.stack(list(film), dim=1).flatten(0, 1)  # (n, c, h, w) of each -> (n * len(film), c, h, w)
    return grid(x, levels, len(film), scale, captions)


def mosaic(
    x: Images, levels: int, cells: Sequence[Cell], scale: int | None = None, captions: Captions = NO_CAPTIONS
) -> Image.Image:
    """Image i of `x` in cell i; empty cells are grey.

    Raises:
        UserError: there is no image, or it has neither 1 nor 3 channels.
    """
    n, c, h, w = x.shape
    if n == 0 or c not in (1, 3):
        raise UserError(f"A picture got {n} images with {c} channels, expected at least one with 1 or 3 channels.")
    rows, columns = (max(numbers) + 1 for numbers in zip(*cells, strict=True))
    scale = scale or max(1, ceil(MIN_IMAGE_WIDTH / w), round(PICTURE_SIDE / max(columns * w, rows * h)))
    border = border_of(scale)
    tiles = to_pixels(x, levels).permute(0, 2, 3, 1).cpu().numpy()  # (n, h, w, c)
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    high, wide = h * scale + border, w * scale + border
    canvas = np.full((rows * high + border, columns * wide + border, c), GREY, np.uint8)
    for (row, column), tile in zip(cells, tiles, strict=True):
        top, left = border + row * high, border + column * wide
        canvas[top : top + h * scale, left : left + w * scale] = tile
    return captioned(Image.fromarray(canvas[..., 0] if c == 1 else canvas), captions, wide, high)


def border_of(scale: int) -> int:
    """Pixels between images, for this factor of magnification."""
    return min(max(BORDER, scale // 2), WIDEST_BORDER)


def captioned(picture: Image.Image, captions: Captions, wide: int, high: int) -> Image.Image:
    """The picture with its captions; its cells are `wide` x `high` pixels."""
    font = ImageFont.load_default(LETTERS)
    title, columns, rows = captions
    left = max((ceil(font.getlength(text)) + PADDING for text in rows), default=0)
    top = LINE * (bool(title) + bool(columns))
    width = max(left + picture.width, ceil(font.getlength(title)) + 2 * PADDING if title else 0)
    grey, white = ((value,) * len(picture.getbands()) for value in (GREY, WHITE))
    canvas = Image.new(picture.mode, (width, top + picture.height), grey)
    canvas.paste(picture, (left, top))
    write = partial(ImageDraw.Draw(canvas).text, fill=white, font=font)
    write((PADDING, LINE / 2), title, anchor="lm")
    for i, text in enumerate(columns):
        write((left + (i + 0.5) * wide, top - LINE / 2), text, anchor="mm")
    for i in range(picture.height // high if rows else 0):
        write((left - PADDING / 2, top + (i + 0.5) * high), rows[i % len(rows)], anchor="rm")
    return canvas


def save(image: Image.Image, path: Path) -> None:
    """Writes a .png, whole or not at all, and creates its folder."""
    with replacing(path) as file:
        image.save(file, format="PNG")
