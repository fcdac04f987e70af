"""What an evaluation can show beside its numbers: pictures, the values of single samples, nearest neighbours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Float64, Int, UInt8
from PIL import Image
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Samples, in 0..255 on the CPU, and of each the nearest reference image, its number and how far away it is."""

    samples: UInt8[Tensor, "n c h w"]
    nearest: UInt8[Tensor, "n c2 h2 w2"]
    index: Int[Tensor, " n"]  # in the reference
    distance: Float[Tensor, " n"]  # in feature space
    reference: str  # "digits/train"


def show_nowhere(*shown: Any) -> None:
    """Shows nothing."""


@dataclass(frozen=True, kw_only=True)
class Show:
    """Where an evaluation puts what it can show; every process calls these."""

    picture: Callable[[str, Image.Image], None] = show_nowhere  # of the metric of this kind
    values: Callable[[str, Float64[Tensor, " n"]], None] = show_nowhere  # "test/bits_per_dim", and that of every sample
    neighbours: Callable[[str, Neighbours], None] = show_nowhere  # found by the metric of this kind


NOTHING = Show()


def shown_everywhere(*shows: Show) -> Show:
    """Shows everything in all of these places, one after the other."""

    def picture(kind: str, picture: Image.Image) -> None:
        for show in shows:
            show.picture(kind, picture)

    def values(metric: str, values: Float64[Tensor, " n"]) -> None:
        for show in shows:
            show.values(metric, values)

    def neighbours(kind: str, found: Neighbours) -> None:
        for show in shows:
            show.neighbours(kind, found)

    return Show(picture=picture, values=values, neighbours=neighbours)
