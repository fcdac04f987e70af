"""Base class of our loggers, which take more than numbers, and the link from evaluators to loggers.

Everything is logged at its `images_seen`. A logger leaves out what it cannot show.
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
    """A Lightning logger of numbers and settings that also takes other data; only rank zero writes."""

    def begin(self, step: int, images_seen: int, every: int) -> None:
        """Starts or resumes a run at this step, which logs numbers every `every` steps: discards what earlier parts of
        the run logged after it."""

    def log_pictures(self, pictures: Mapping[str, Image.Image], images_seen: int) -> None:
        """Shows pictures by their kind, such as "samples"."""

    def log_histograms(self, histograms: Mapping[str, Histogram], images_seen: int) -> None:
        """Shows distributions of values by their name, such as "val/bits_per_dim_per_sample"."""

    def log_neighbours(self, kind: str, found: Neighbours, images_seen: int) -> None:
        """Shows samples beside the nearest training images."""

    def log_results(self, records: Sequence[Record]) -> None:
        """Saves the final results with their protocol; the numbers are logged already."""

    def log_checkpoints(self, folder: Path) -> None:
        """Saves the checkpoints of a finished training, if the config demands it."""

    def end(self, exit_code: int) -> None:
        """The process is about to end the run, which failed if `exit_code` is not 0. Never raises."""


def run_loggers(loggers: Iterable[Logger]) -> list[RunLogger]:
    """The loggers that take more than numbers."""
    return [logger for logger in loggers if isinstance(logger, RunLogger)]


def shown_by(loggers: Iterable[Logger], images_seen: int) -> Show:
    """For `evaluate(show=...)`: gives pictures, values and neighbours of evaluators to the loggers."""
    able = run_loggers(loggers)

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
