"""What an evaluation can show beside its numbers: pictures, values of single samples, nearest neighbours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Float64, Int, UInt8
from PIL import Image
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Samples, in 0..255 on the CPU, with the nearest reference image of each, its number and its distance."""

    samples: UInt8[Tensor, "n c h w"]
    nearest: UInt8[Tensor, "n c2 h2 w2"]
    index: Int[Tensor, " n"]  # in the reference
    distance: Float[Tensor, " n"]  # in feature space
    reference: str  # "digits/train"


def show_nowhere(*shown: Any) -> None:
    """Shows nothing."""


@dataclass(frozen=True, kw_only=True)
class Show:
    """Functions that show results of an evaluation; every process calls them."""

    picture: Callable[[str, Image.Image], None] = show_nowhere  # (kind of the metric, picture)
    values: Callable[[str, Float64[Tensor, " n"]], None] = show_nowhere  # ("test/bits_per_dim", values of all samples)
    neighbours: Callable[[str, Neighbours], None] = show_nowhere  # (kind of the metric, neighbours)


NOTHING = Show()


def shown_everywhere(*shows: Show) -> Show:
    """A Show that calls all of these, one after the other."""

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
