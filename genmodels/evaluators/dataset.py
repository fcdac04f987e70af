"""The interface that evaluators need of a dataset; any object with these members will do."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from genmodels.capabilities import Batch, Condition
from genmodels.errors import UserError
from genmodels.fields import Field, Fields


@runtime_checkable
class ImageDataset(Protocol):
    """Images in splits, in their own units, for which feature extractors are prepared."""

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
        """How its images were cropped and resized, as text; None: they are as published."""

    def split(self, name: str) -> tuple[Batch, Condition]:
        """Samples (n, *shape) on the CPU in data units, and their conditions, such as {"label": (n,)}."""

    def fingerprint(self, split: str) -> str:
        """A hash of the split's content."""


@runtime_checkable
class Dataset(ImageDataset, Protocol):
    """Samples of any kind."""

    @property
    def x(self) -> Field | Fields:
        """The field of a sample: one tensor, or several by name."""

    @property
    def condition(self) -> Fields:
        """The conditions of each sample."""


def are_pictures(data: Dataset) -> bool:
    """Whether the samples are images (c, h, w) of integers."""
    return isinstance(data.x, Field) and data.x.kind == "image" and has_levels(data) and len(data.x.shape) == 3


def has_levels(data: Dataset) -> bool:
    """Whether all of a sample's entries are integers."""
    return all(field.levels is not None for field in fields(data))


def dims(data: Dataset) -> int:
    """Entries of a sample."""
    return sum(field.dims for field in fields(data))


def fields(data: Dataset) -> list[Field]:
    """The tensors that a sample consists of."""
    return [data.x] if isinstance(data.x, Field) else list(data.x.values())


def described(data: Dataset) -> str:
    """The fields of a sample as text."""
    return " and ".join(str(field) for field in fields(data))


def picture_levels(data: ImageDataset) -> int:
    """`levels` of a dataset of images; a UserError for any other."""
    if data.levels is None or len(data.shape) != 3:
        raise UserError(
            f"metrics over samples need images of shape (c, h, w) with levels, and {data.name} has shape "
            f"{tuple(data.shape)} and levels {data.levels}: choose evaluator=[likelihood]"
        )
    return data.levels
