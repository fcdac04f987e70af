"""Images of 1 or 3 channels: grids, originals above what was made of them, films; .png, .npz, or a folder of files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image as Picture
from torch import Tensor
from torch.nn.functional import interpolate

from genmodels.fields import Field
from genmodels.kinds.base import Shown, SideBySide, Way
from genmodels.pictures import film_strip, grid, save, single, stacked
from genmodels.units import to_pixels

Images = Integer[Tensor, "n c h w"]


class Image(SideBySide):
    """Integers (c, h, w), 0 black and levels - 1 white."""

    file = "samples.png"

    @classmethod
    def suits(cls, field: Field) -> bool:
        return field.levels is not None and len(field.shape) == 3 and field.shape[0] in (1, 3)

    @property
    def levels(self) -> int:
        assert self.of.levels is not None
        return self.of.levels

    def picture(self, x: Any, model: Any, data: Any = None) -> Picture.Image:
        return grid(x, self.levels)

    def stacked(self, rows: Sequence[Shown]) -> Picture.Image:
        c, h, w = (max(sizes) for sizes in zip(*(shown.field.shape for shown in rows), strict=True))
        return stacked([fitted(shown, c, h, w) for shown in rows], levels=256)

    def film(self, moments: Sequence[Any]) -> Picture.Image:
        return film_strip(moments, self.levels)

    def arrays(self, x: Any) -> dict[str, np.ndarray]:
        arrays = super().arrays(x)
        return {"images": arrays.pop("x"), **arrays}

    def ways(self, model: Any) -> dict[str, Way]:
        png = Way("a grid", lambda x, out: save(self.picture(x, model), out))
        return {".png": png, **super().ways(model), "": Way("a folder of PNG files", self.write_files)}

    def write_files(self, x: Images, out: Path) -> None:
        """A file for each image."""
        for index, image in enumerate(x):
            save(single(image, self.levels), out / f"{index:06}.png")


def fitted(shown: Shown, c: int, h: int, w: int) -> UInt8[Tensor, "n c h w"]:
    """Images in 0..255 with so many channels, magnified to this size."""
    assert shown.field.levels is not None
    pixels = to_pixels(shown.x, shown.field.levels)
    return interpolate(pixels.expand(-1, c, -1, -1), size=(h, w), mode="nearest")
