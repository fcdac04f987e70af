"""What evaluators need of a dataset; any object that has it will do."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from genmodels.errors import UserError


@runtime_checkable
class Data(Protocol):
    """Samples in splits, in the data's own units (see `genmodels.capabilities`)."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> Sequence[int]:
        """Of one sample; (c, h, w) for images."""

    @property
    def levels(self) -> int | None:
        """Values that an entry can take; None: continuous."""

    @property
    def classes(self) -> int | None:
        """Number of labels; None: unlabelled."""

    @property
    def prepared(self) -> str | None:
        """How its images were cut and resized, in words; None: they are as they were published."""

    def split(self, name: str) -> tuple[Tensor, Tensor | None]:
        """x (n, *shape) on the CPU in data units, and labels y (n,) int64 or None."""

    def fingerprint(self, split: str) -> str:
        """A hash of the split's content."""


def are_pictures(data: Data) -> bool:
    """Whether the samples are images (c, h, w) of integers."""
    return data.levels is not None and len(data.shape) == 3


def picture_levels(data: Data) -> int:
    """`levels` of a dataset of images; a UserError for any other."""
    if data.levels is None or not are_pictures(data):
        raise UserError(
            f"metrics over samples need images of shape (c, h, w) with levels, and {data.name} has shape "
            f"{tuple(data.shape)} and levels {data.levels}: choose evaluator=[likelihood]"
        )
    return data.levels
