"""Points in the plane: histograms of samples and data, and the exact density where the model has one."""

from typing import Any

from PIL import Image
from torch import Tensor

from genmodels.capabilities import NO_CONDITION, Condition
from genmodels.fields import Field
from genmodels.kinds.base import Format, Pictured
from genmodels.pictures import save
from genmodels.point_pictures import exact_density, is_plane, panels


class Points(Pictured):
    """Float points (2,)."""

    file = "samples.png"
    dots = 20_000

    @classmethod
    def suits(cls, field: Field) -> bool:
        return is_plane(field.shape, field.levels)

    def picture(self, x: Any, model: Any, condition: Condition = NO_CONDITION, data: Any = None) -> Image.Image:
        sets: dict[str, Tensor | None] = {"data": data, "samples": x}
        there = {name: points for name, points in sets.items() if points is not None}
        return panels(there, exact_density(model), next(model.parameters()).device)

    def formats(self, model: Any) -> dict[str, Format]:
        png = Format("a picture of their density", lambda x, given, out: save(self.picture(x, model, given), out))
        return {".png": png, **super().formats(model)}
