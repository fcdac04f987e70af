"""Crops and resizes an image of any size to the size of a dataset.

Both steps change every number that is measured on the images, so they are part of the protocol. Pillow resizes uint8
values with a filter that widens for downscaling (antialiasing), as Parmar et al. (2022,
https://arxiv.org/abs/2104.11222) recommend.
"""

from typing import Literal, NamedTuple

from PIL import Image

from genmodels.errors import UserError

Resize = Literal["none", "box", "bilinear", "bicubic", "lanczos"]
PILLOW_FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Box(NamedTuple):
    """A part of an image in Pillow's coordinates: from the upper left corner; right, bottom exclusive."""

    left: int
    top: int
    right: int
    bottom: int


def central_box(size: tuple[int, int], wanted: tuple[int, int], resize: Resize) -> Box:
    """The central part of an image of `size` (w, h) with the size `wanted`, or the largest with its proportions."""
    (w, h), (cut_w, cut_h) = size, wanted
    if resize != "none" and w * cut_h > h * cut_w:  # too wide
        cut_w, cut_h = max(1, round(h * cut_w / cut_h)), h
    elif resize != "none":
        cut_w, cut_h = w, max(1, round(w * cut_h / cut_w))
    left, top = (w - cut_w) // 2, (h - cut_h) // 2
    return Box(left, top, left + cut_w, top + cut_h)


def cropped_and_resized(
    image: Image.Image, box: Box | None, wanted: tuple[int, int], resize: Resize, name: object
) -> Image.Image:
    """The part of an image in `box`, or all of it, at the size `wanted` (w, h).

    Raises UserError where the box exceeds the image, where the size differs and `resize` is "none", or where an image
    without a box would be distorted.
    """
    w, h = image.size
    if box is not None and (box.left < 0 or box.top < 0 or box.right > w or box.bottom > h):
        raise UserError(
            f"{name} is {h}x{w}, smaller than the {box.bottom - box.top}x{box.right - box.left} (height x width) that "
            "data.crop takes; remove it, or choose another data.crop or data.resize"
        )
    part = image if box is None else image.crop(box)
    if part.size == wanted:
        return part
    if resize == "none" or (box is None and w * wanted[1] != h * wanted[0]):
        raise UserError(
            f"{name} is {h}x{w}, expected {wanted[1]}x{wanted[0]} (height x width)"
            f"{'' if resize == 'none' else ' or its proportions'}; correct data.shape, or set data.crop or data.resize"
        )
    return part.resize(wanted, PILLOW_FILTERS[resize])
