"""Images of any dataset with a degraded copy of each as the condition `image`: for super-resolution and colouring.

Such pairs train SR3 and Palette (Saharia et al. 2021, https://arxiv.org/abs/2104.07636 and
https://arxiv.org/abs/2111.05826). In training the copy is made from the transformed image (mirrored, binarized), so
that the two always match. Labels of the source stay a condition.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Integer
from torch import Tensor

from genmodels.capabilities import Batch, Condition
from genmodels.data.base import Data, Split, Splits
from genmodels.errors import UserError
from genmodels.fields import Field
from genmodels.ranges import PositiveInt, TwoOrMore

Degradation = Literal["downscaled", "grey"]
Originals = Integer[Tensor, "n c h w"]
Copies = Integer[Tensor, "n c_copy h_copy w_copy"]

GREY_WEIGHTS = (19595, 38470, 7471)  # 65536 (0.299, 0.587, 0.114): the weights of red, green and blue (ITU-R 601)
DEGRADED_AT_ONCE = 4096  # images of a split in one call of `degrade`


class Degraded(Data):
    """The images of `source`, with the condition `image`: (c, h/factor, w/factor) by averages, or (1, h, w) in grey."""

    def __init__(
        self,
        *,
        name: str,
        shape: Sequence[PositiveInt],
        levels: TwoOrMore | None,  # images need levels: null is refused
        classes: PositiveInt | None,
        batch_size: PositiveInt,
        source: Data,
        degradation: Degradation,
        factor: PositiveInt,  # for downscaled: side of the square of pixels that becomes one pixel
        condition: Mapping[str, Any],  # shape and levels of `image`, for the config of a model
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size)
        if not (isinstance(source.x, Field) and source.x.kind == "image" and source.x.levels):
            raise UserError(f"data.source is {source.name}, which has no images; choose another data@data.source=")
        require_possible(degradation, factor, source.x.shape)
        self.source, self.degradation, self.factor = source, degradation, factor
        self.condition = {**source.condition, "image": degraded_field(source.x, degradation, factor)}
        stated = Field("image", tuple(condition["image"]["shape"]), condition["image"]["levels"])
        if stated != self.condition["image"]:
            raise UserError(
                f"data.condition.image says {stated}, and the degraded images are {self.condition['image']}; leave "
                "data.condition unchanged"
            )

    @property
    def prepared(self) -> str | None:
        return self.source.prepared

    def read(self) -> Splits:
        splits = self.source.read()
        train, val, test = (self.with_copies(split) for split in splits[:3])
        return Splits(train, val, test, training=splits.training)  # `visit` makes the copies of training

    def with_copies(self, split: Split) -> Split:
        """The split with a degraded copy of each image."""
        copies = torch.cat([self.degrade(x) for x in split.x.split(DEGRADED_AT_ONCE)])
        return Split(split.x, {**split.condition, "image": copies})

    def transform(self, x: Any, generator: torch.Generator) -> Any:
        return self.source.transform(x, generator)

    def visit(self, x: Batch, condition: Condition, generator: torch.Generator) -> tuple[Batch, Condition]:
        seen, condition = self.source.visit(x, condition, generator)
        assert isinstance(seen, Tensor)
        return seen, {**condition, "image": self.degrade(seen)}

    def degrade(self, x: Originals) -> Copies:
        """The degraded copies, computed in integers so that they are the same on every device."""
        return downscaled(x, self.factor) if self.degradation == "downscaled" else brightness(x)


def degraded_field(of: Field, degradation: Degradation, factor: int) -> Field:
    """The field of a degraded copy."""
    c, h, w = of.shape
    return of._replace(shape=(c, h // factor, w // factor) if degradation == "downscaled" else (1, h, w))


def require_possible(degradation: Degradation, factor: int, shape: Sequence[int]) -> None:
    """UserError if images of this shape cannot be degraded like this."""
    c, h, w = shape
    if degradation == "downscaled" and (factor < 2 or h % factor or w % factor):
        raise UserError(f"data.factor is {factor}, expected at least 2 and a divisor of {h} and {w} (height and width)")
    if degradation == "grey" and c != 3:
        raise UserError(f"data.degradation=grey is for images in colour, and these have {c} channel; use downscaled")


def downscaled(x: Originals, factor: int) -> Copies:
    """The average of each square of `factor` x `factor` pixels, rounded."""
    n, c, h, w = x.shape
    squares = x.long().view(n, c, h // factor, factor, w // factor, factor).sum((3, 5))
    area = factor**2
    return ((2 * squares + area) // (2 * area)).to(x.dtype)


def brightness(x: Integer[Tensor, "n 3 h w"]) -> Integer[Tensor, "n 1 h w"]:
    """The weighted sum of the colours, rounded."""
    weights = torch.tensor(GREY_WEIGHTS, device=x.device).view(1, 3, 1, 1)
    return (((x.long() * weights).sum(1, keepdim=True) + 2**15) >> 16).to(x.dtype)
