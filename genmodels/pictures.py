"""Data in its own units to pictures for people: grids, images under each other, film strips.

Small images are magnified by a whole factor, so that the pixels of an 8x8 digit stay
sharp squares. All images of one picture have one shape, of 1 or 3 channels.
"""

from collections.abc import Sequence
from math import ceil, sqrt
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Integer
from PIL import Image
from torch import Tensor

from genmodels.disk.atomic import replacing
from genmodels.errors import UserError
from genmodels.units import to_pixels

WIDTH = 800  # pixels of a picture, about: images are magnified up to it, never shrunk
BORDER = 2  # pixels around every image
GREY = 96  # of the border, apart from both black and white backgrounds

Images = Integer[Tensor, "n c h w"]
Cell = tuple[int, int]  # (row, column)


def grid(x: Images, levels: int, columns: int | None = None, scale: int | None = None) -> Image.Image:
    """Images row by row; `columns` None: a square; `scale` None: the whole factor nearest to 800 pixels of width."""
    columns = columns or ceil(sqrt(len(x)))
    return mosaic(x, levels, [divmod(i, columns) for i in range(len(x))], scale)


def single(x: Integer[Tensor, "c h w"], levels: int) -> Image.Image:
    """One image, pixel for pixel and without a border, for programs that score images."""
    pixels = to_pixels(x, levels).permute(1, 2, 0).cpu().numpy()  # (h, w, c)
    return Image.fromarray(pixels[..., 0] if len(x) == 1 else pixels)


def stacked(rows: Sequence[Images], levels: int, columns: int | None = None, scale: int | None = None) -> Image.Image:
    """Image i of each of `rows` right above that of the next, such as an original above its reconstruction."""
    k, n = len(rows), len(rows[0])
    columns = columns or ceil(sqrt(k * n))
    cells = [(k * (i // columns) + j, i % columns) for j in range(k) for i in range(n)]
    return mosaic(torch.cat(list(rows)), levels, cells, scale)


def film_strip(film: Sequence[Images], levels: int, scale: int | None = None) -> Image.Image:
    """One row a sample, one column a moment of `film`, first to last."""
    x = torch.stack(list(film), dim=1).flatten(0, 1)  # (n, c, h, w) of each -> (n * len(film), c, h, w)
    return grid(x, levels, columns=len(film), scale=scale)


def mosaic(x: Images, levels: int, cells: Sequence[Cell], scale: int | None) -> Image.Image:
    """Image i of `x` in cell i; a cell that no image has is left grey.

    Raises:
        UserError: there is no image, or it has neither 1 nor 3 channels.
    """
    n, c, h, w = x.shape
    if n == 0 or c not in (1, 3):
        raise UserError(f"A picture was asked of {n} images with {c} channels, expected at least one with 1 or 3.")
    rows, columns = (max(numbers) + 1 for numbers in zip(*cells, strict=True))
    scale = scale or max(1, round(WIDTH / (columns * w)))
    tiles = to_pixels(x, levels).permute(0, 2, 3, 1).cpu().numpy()  # (n, h, w, c)
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    high, wide = h * scale + BORDER, w * scale + BORDER
    canvas = np.full((rows * high + BORDER, columns * wide + BORDER, c), GREY, np.uint8)
    for (row, column), tile in zip(cells, tiles, strict=True):
        top, left = row * high + BORDER, column * wide + BORDER
        canvas[top : top + h * scale, left : left + w * scale] = tile
    return Image.fromarray(canvas[..., 0] if c == 1 else canvas)


def save(image: Image.Image, path: Path) -> None:
    """Writes a .png, whole or not at all, and the folder that it lies in."""
    with replacing(path) as file:
        image.save(file, format="PNG")
