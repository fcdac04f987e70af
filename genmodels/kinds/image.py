"""Images of 1 or 3 channels: grids, stacked rows, film strips; saved as .png, .npz, or a folder of files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Integer, UInt8
from PIL import Image as Picture
from torch import Tensor
from torch.nn.functional import interpolate

from genmodels.capabilities import NO_CONDITION, Condition, Moment
from genmodels.fields import Field, Fields
from genmodels.kinds.base import Filmed, Format, NamedSamples
from genmodels.pictures import Captions, by_class, film_strip, grid, save, single, stacked
from genmodels.units import to_pixels

Images = Integer[Tensor, "n c h w"]


class Image(Filmed):
    """Integers (c, h, w), 0 black and levels - 1 white."""

    file = "samples.png"

    @classmethod
    def suits(cls, field: Field) -> bool:
        return field.levels is not None and len(field.shape) == 3 and field.shape[0] in (1, 3)

    @property
    def levels(self) -> int:
        assert self.of.levels is not None
        return self.of.levels

    def picture(self, x: Any, model: Any, condition: Condition = NO_CONDITION, data: Any = None) -> Picture.Image:
        """Samples between their image conditions and the data; or columns by class; or a square grid."""
        given = [
            NamedSamples(name, condition[name], field) for name, field in image_conditions(condition, model).items()
        ]
        if given:
            beside = [] if data is None else [NamedSamples("data", data, self.of)]
            return self.stacked([*given, NamedSamples("sample", x, self.of), *beside])
        if "label" in condition:
            return by_class(x, condition["label"], self.levels)
        return grid(x, self.levels, captions=Captions("samples"))

    def stacked(self, rows: Sequence[NamedSamples]) -> Picture.Image:
        c, h, w = (max(sizes) for sizes in zip(*(shown.field.shape for shown in rows), strict=True))
        captions = Captions(rows=[shown.name for shown in rows])
        return stacked([magnified(shown, c, h, w) for shown in rows], levels=256, captions=captions)

    def film(self, moments: Sequence[Moment]) -> Picture.Image:
        sigmas = [f"{float(moment.level.sigma):.2g}" for moment in moments]
        captions = Captions("denoising, from left to right; the numbers are sigma", sigmas, ("noisy", "estimate"))
        return film_strip([alternating(*moment[1:]) for moment in moments], self.levels, captions=captions)

    def arrays(self, x: Any, condition: Condition) -> dict[str, np.ndarray]:
        arrays = super().arrays(x, condition)
        return {"images": arrays.pop("x"), **arrays}

    def formats(self, model: Any) -> dict[str, Format]:
        png = Format("a grid", lambda x, given, out: save(self.picture(x, model, given), out))
        return {".png": png, **super().formats(model), "": Format("a folder of PNG files", self.write_files)}

    def write_files(self, x: Images, condition: Condition, out: Path) -> None:
        """Writes one file for each image."""
        for index, image in enumerate(x):
            save(single(image, self.levels), out / f"{index:06}.png")


def image_conditions(condition: Condition, model: Any) -> Fields:
    """The conditions that are images."""
    fields = {name: model.condition[name] for name in condition}
    return {name: field for name, field in fields.items() if field.kind == "image" and Image.suits(field)}


def alternating(noisy: Any, estimate: Any) -> Images:
    """Each noisy sample before its estimate."""
    return torch.stack([noisy, estimate], dim=1).flatten(0, 1)


def magnified(shown: NamedSamples, c: int, h: int, w: int) -> UInt8[Tensor, "n c h w"]:
    """Images in 0..255 with `c` channels, magnified to h x w."""
    assert shown.field.levels is not None
    pixels = to_pixels(shown.x, shown.field.levels)
    return interpolate(pixels.expand(-1, c, -1, -1), size=(h, w), mode="nearest")
