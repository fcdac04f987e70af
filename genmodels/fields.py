"""The kind, shape and range of a tensor, defined once for samples and for conditions."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Literal, NamedTuple

import torch

from genmodels.errors import UserError

SplitName = Literal["train", "val", "test"]
KindName = Literal["image", "points", "tokens", "wave", "cloud", "graph", "series", "label", "vector"]


class Field(NamedTuple):
    """One tensor of a sample or of a condition, without the batch dimension."""

    kind: KindName
    shape: tuple[int, ...]  # (c, h, w) of an image, (d,) of a point, (l,) of tokens, () of a label
    levels: int | None  # integers 0..levels-1, in the smallest dtype that holds them; None: float32
    vocabulary: str | None = None  # the characters that tokens stand for; None: they are no characters

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32 if self.levels is None else smallest_dtype(self.levels)

    @property
    def dims(self) -> int:
        """Entries of a sample."""
        return prod(self.shape)

    def __str__(self) -> str:
        values = "real" if self.levels is None else f"0..{self.levels - 1}"
        return f"{self.kind} {list(self.shape)} of {values}"


Fields = Mapping[str, Field]


def smallest_dtype(levels: int) -> torch.dtype:
    """The smallest integer type that holds 0..levels-1 and that torch computes with; labels are int64 by custom."""
    for dtype in (torch.uint8, torch.int16, torch.int32):
        if levels - 1 <= torch.iinfo(dtype).max:
            return dtype
    return torch.int64


def in_range(x: torch.Tensor, levels: int) -> bool:
    """Whether all integers are in 0..levels-1; values are not read where their type has no others."""
    bounds = torch.iinfo(x.dtype)
    return (bounds.min, bounds.max) == (0, levels - 1) or not x.numel() or 0 <= int(x.min()) <= int(x.max()) < levels


def require_samples(x: Any, field: Field) -> None:
    """UserError unless `x` is a tensor of samples of this field, (n, *shape); any integer type is accepted."""
    given = isinstance(x, torch.Tensor)
    fits = given and x.ndim > 0 and tuple(x.shape[1:]) == field.shape and has_type_of(x, field)
    if fits and (field.levels is None or in_range(x, field.levels)):
        return
    values = f" with values {int(x.min())}..{int(x.max())}" if fits else ""
    found = f"{x.dtype} of shape {list(x.shape)}{values}" if given else type(x).__name__
    shape = ", ".join(map(str, ("n", *field.shape)))
    right = f"{field.dtype} of shape [{shape}], each {field}"
    raise UserError(f"got samples of {found}, expected those of the data: {right}; convert them")


def has_type_of(x: torch.Tensor, field: Field) -> bool:
    """Whether entries are real numbers or integers, the same as those of the field."""
    real = x.is_floating_point()
    return real if field.levels is None else not (real or x.is_complex() or x.dtype == torch.bool)


def label(classes: int | None) -> Fields:
    """The condition of data with that many classes; none where there are no classes."""
    return {} if classes is None else {"label": Field("label", (), classes)}


def image_shape(shape: Sequence[int], who: str) -> tuple[int, int, int]:
    """(c, h, w) of an image; UserError where the data are no images. `who` names the network in the error message."""
    if len(shape) != 3:
        raise UserError(
            f"{who} takes images (c, h, w), and the samples have shape {list(shape)}; choose data of images, or "
            "another model"
        )
    c, h, w = shape
    return c, h, w


def coordinates(shape: Sequence[int], who: str, at_least: int = 1) -> int:
    """d of points (d,); UserError where the data are none, or have fewer coordinates. `who` names the network."""
    if len(shape) != 1 or shape[0] < at_least:
        raise UserError(
            f"{who} got samples of shape {list(shape)}, expected [d] with d of at least {at_least}; choose data of "
            "points, such as data=toy2d, or a model for images, such as model=realnvp"
        )
    return shape[0]
