"""Pictures in 0..255 by number, from a split of a dataset or from files on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor

from genmodels.errors import UserError
from genmodels.evaluators.dataset import ImageDataset, picture_levels
from genmodels.units import to_pixels


@runtime_checkable
class PictureSet(Protocol):
    """A fixed set of pictures of one size."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w)"""

    @property
    def levels(self) -> int:
        """Number of values of an entry before the conversion to 0..255."""

    @property
    def prepared(self) -> str | None:
        """How they were cropped and resized, as text; None: not at all."""

    @property
    def sha256(self) -> str:
        """Hash of the content."""

    def __len__(self) -> int: ...

    def read(self, index: Sequence[int]) -> UInt8[Tensor, "b c h w"]:
        """The pictures with these numbers, on the CPU."""


class SplitPictures:
    """The pictures of one split of a dataset of images."""

    def __init__(self, data: ImageDataset, split: str):
        self.levels = picture_levels(data)
        x, _ = data.split(split)
        assert isinstance(x, Tensor)
        self.x = x
        self.name = f"{data.name}/{split}"
        self.prepared = data.prepared
        self.sha256 = data.fingerprint(split)
        c, h, w = data.shape
        self.shape = (c, h, w)

    def __len__(self) -> int:
        return len(self.x)

    def read(self, index: Sequence[int]) -> UInt8[Tensor, "b c h w"]:
        return to_pixels(self.x[torch.as_tensor(index)], self.levels)


@dataclass(frozen=True)
class WithChannels:
    """Pictures with another number of channels: a grey picture has three equal channels."""

    pictures: PictureSet
    c: int

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def name(self) -> str:
        return self.pictures.name

    @property
    def levels(self) -> int:
        return self.pictures.levels

    @property
    def prepared(self) -> str | None:
        return self.pictures.prepared

    @property
    def sha256(self) -> str:
        return self.pictures.sha256

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.c, *self.pictures.shape[1:])

    def read(self, index: Sequence[int]) -> UInt8[Tensor, "b c h w"]:
        x = self.pictures.read(index)
        if self.c == x.shape[1]:
            return x
        if self.c == 1 and not (x == x[:, :1]).all():
            raise UserError(
                f"{self.name} has coloured pictures, expected grey ones, or three equal channels; "
                "convert them, or choose features=inception"
            )
        return x[:, :1].repeat(1, self.c, 1, 1)
