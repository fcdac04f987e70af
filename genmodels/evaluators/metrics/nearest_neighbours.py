"""Samples beside their nearest training images in feature space, to detect memorisation.

If a model copies its training images, its samples are much nearer to them than these are to each
other. So the protocol also has the mean distance within the reference.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from genmodels.errors import UserError
from genmodels.evaluators.banked import BankedMetric
from genmodels.evaluators.base import PixelsOf, Score, at_least_two
from genmodels.evaluators.distributed import from_all
from genmodels.evaluators.pairs import check_neighbours, nearest_rows
from genmodels.evaluators.reference import Reference
from genmodels.evaluators.results import Mode
from genmodels.evaluators.shown import Neighbours, Show
from genmodels.evaluators.subject import GeneratedBatch
from genmodels.fields import SplitName
from genmodels.pictures import Captions, mosaic
from genmodels.ranges import PositiveInt


class NearestNeighbours(BankedMetric):
    """Mean distance of `n` samples to their nearest reference image; shows the first ones beside their neighbours."""

    mode: ClassVar[Mode] = "min"
    kind: ClassVar[str] = "nearest_distance"

    def __init__(
        self,
        *,
        n: PositiveInt,  # generated samples
        reference: SplitName,  # split in which to look for neighbours
        k: PositiveInt,  # neighbours shown beside a sample
        rows: PositiveInt,  # number of samples to show, the first ones
    ):
        super().__init__()
        self.n = n
        self.reference = reference
        self.k = k
        self.rows = rows

    def allocate(self, d: int, k: int) -> None:
        at_least_two(self.n, "generated samples for nearest_neighbours")
        if self.rows < 1:
            raise UserError(f"got rows={self.rows} for nearest_neighbours, expected 1 or more: raise it")
        self.shown: dict[int, Tensor] = {}  # (c, h, w) of the first samples, by number
        super().allocate(d, k)

    def require(self, n: int, name: str) -> None:
        check_neighbours(self.k, n - 1, "nearest_neighbours", f"{n} images in {name}")

    def update(self, drawn: GeneratedBatch) -> None:
        self.shown |= {i: p.cpu() for i, p in zip(drawn.numbers.tolist(), drawn.pixels, strict=True) if i < self.rows}

    def compare(self, reference: Reference, fake: Float[Tensor, "m d"], about: dict[str, Any]) -> list[Score]:
        real = reference.features()
        distance, index = nearest_rows(fake, real, self.k, self.device, self.progress)
        self.neighbours, self.distances = index[: self.rows].cpu(), distance[: self.rows, 0].cpu()
        own = reference.kept(f"nearest_{self.n}", lambda: self.within(real))
        return [
            Score(
                self.kind,
                average(distance[:, 0]),
                None,
                about | {"distance_within_reference": average(own)},
            )
        ]

    def within(self, real: Float[Tensor, "n d"]) -> Float[Tensor, " m"]:
        """Distance of the first images of the reference to their nearest other."""
        return nearest_rows(real[: self.n], real, 2, self.device, self.progress)[0][
            :, 1
        ]  # the nearest is the image itself

    def show(self, pixels_of: PixelsOf, reference: str, to: Show) -> None:
        """A picture with a row for each of the first samples and its neighbours, and the smallest distances."""
        shown = {i: p for part in from_all(self.shown) for i, p in part.items()}
        samples = torch.stack([shown[i] for i in sorted(shown)])
        neighbours = pixels_of(self.neighbours.flatten()).cpu()
        to.picture(self.kind, beside(samples, neighbours, reference))
        found = {"nearest": neighbours[:: self.k], "index": self.neighbours[:, 0], "distance": self.distances}
        to.neighbours(self.kind, Neighbours(samples=samples, reference=reference, **found))


def beside(x: UInt8[Tensor, "n c h w"], neighbours: UInt8[Tensor, "nk c2 h2 w2"], reference: str) -> Image.Image:
    """Each image of `x` in 0..255 before a gap, then its k neighbours, resized to its size where theirs is another."""
    k = len(neighbours) // len(x)
    if neighbours.shape[2:] != x.shape[2:]:
        resized = interpolate(neighbours.float(), size=x.shape[2:], mode="bilinear", antialias=True)
        neighbours = resized.round().clamp(0, 255).to(torch.uint8)
    channels = max(x.shape[1], neighbours.shape[1])  # a grey image beside a coloured one becomes three equal channels
    pictures = torch.cat([images.expand(-1, channels, -1, -1) for images in (x, neighbours)])
    cells = [(row, 0) for row in range(len(x))] + [(row, 2 + column) for row in range(len(x)) for column in range(k)]
    captions = Captions(f"samples, and their {k} nearest images in {reference}")
    return mosaic(pictures, 256, cells, captions=captions)


def average(x: Float[Tensor, " n"]) -> float:
    return float(x.double().mean())
