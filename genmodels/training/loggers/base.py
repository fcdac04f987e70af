"""What a logger of a run takes beside numbers, and how an evaluation reaches all of them.

Everything stands at its `images_seen`. A logger that cannot show something leaves it out.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from jaxtyping import Float64
from PIL import Image
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor

from genmodels.evaluators.results import Record
from genmodels.evaluators.shown import Neighbours, Show
from genmodels.training.loggers.histogram import Histogram, histogram_of


class RunLogger(Logger):
    """Lightning's logger of numbers and settings, that can be given more; only the first process writes."""

    def begin(self, step: int, images_seen: int, every: int) -> None:
        """The run begins, or goes on, here, and logs numbers `every` so many steps: what an earlier part of it logged
        after this is forgotten."""

    def log_pictures(self, pictures: Mapping[str, Image.Image], images_seen: int) -> None:
        """Shows pictures by their kind, such as "samples"."""

    def log_histograms(self, histograms: Mapping[str, Histogram], images_seen: int) -> None:
        """Shows how values are distributed, by their name, such as "val/bits_per_dim_per_sample"."""

    def log_neighbours(self, kind: str, found: Neighbours, images_seen: int) -> None:
        """Shows samples beside the nearest training images."""

    def log_results(self, records: Sequence[Record]) -> None:
        """Keeps the final results with their protocol; as numbers they are logged already."""

    def log_checkpoints(self, folder: Path) -> None:
        """Keeps the checkpoints of a training that is over, where that was asked for."""

    def end(self, exit_code: int) -> None:
        """The process is about to leave the run, which failed where `exit_code` is not 0. Never raises."""


def ours(loggers: Iterable[Logger]) -> list[RunLogger]:
    """Those loggers that take more than numbers."""
    return [logger for logger in loggers if isinstance(logger, RunLogger)]


def shown_by(loggers: Iterable[Logger], images_seen: int) -> Show:
    """For `evaluate(show=...)`: hands what evaluators show to the loggers."""
    able = ours(loggers)

    def picture(kind: str, picture: Image.Image) -> None:
        for logger in able:
            logger.log_pictures({kind: picture}, images_seen)

    def values(metric: str, values: Float64[Tensor, " n"]) -> None:
        for logger in able:
            logger.log_histograms({f"{metric}_per_sample": histogram_of(values)}, images_seen)

    def neighbours(kind: str, found: Neighbours) -> None:
        for logger in able:
            logger.log_neighbours(kind, found, images_seen)

    return Show(picture=picture, values=values, neighbours=neighbours)
