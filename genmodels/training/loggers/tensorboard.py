"""A TensorBoard logger; the package tensorboard is an optional dependency."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning.utilities import rank_zero_only

from genmodels.disk.strict_json import dumps
from genmodels.errors import UserError
from genmodels.evaluators.results import Record
from genmodels.training.loggers.base import RunLogger
from genmodels.training.loggers.histogram import Histogram

Settings = dict[str, Any]  # dotted key -> number, text, true or false


class TensorBoard(RunLogger):
    """Writes event files into the directory `path`; the x axis, which TensorBoard calls step, is `images_seen`.

    Raises:
        UserError: tensorboard is not installed.
    """

    def __init__(self, *, path: str):
        if find_spec("tensorboard") is None:
            raise UserError("logger=tensorboard needs the package tensorboard, which is missing; pip install it")
        super().__init__()
        self.path = Path(path)
        self.settings: Settings = {}
        self.purge: int | None = None  # TensorBoard hides entries of earlier files from here on
        self._writer: Any = None

    @property
    def name(self) -> str:
        return "tensorboard"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path)

    @property
    def writer(self) -> Any:
        """PyTorch's writer, with a new event file."""
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is None:
            self._writer = SummaryWriter(str(self.path), purge_step=self.purge)
        return self._writer

    def begin(self, step: int, images_seen: int, every: int) -> None:
        self.purge = images_seen + 1 if self.path.exists() else None

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Writes the settings as a text, and keeps them for `log_results`."""
        self.settings = flat(vars(params) if isinstance(params, Namespace) else params)
        self.writer.add_text("config", "\n".join(f"    {key}: {value}" for key, value in self.settings.items()))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """A curve for each metric at its `images_seen`."""
        for name, value in metrics.items():
            if name != "images_seen":
                self.writer.add_scalar(name, float(value), int(metrics["images_seen"]))

    @rank_zero_only
    def log_pictures(self, pictures: Mapping[str, Image.Image], images_seen: int) -> None:
        for kind, picture in pictures.items():
            self.writer.add_image(kind, np.asarray(picture.convert("RGB")), images_seen, dataformats="HWC")

    @rank_zero_only
    def log_histograms(self, histograms: Mapping[str, Histogram], images_seen: int) -> None:
        for name, histogram in histograms.items():
            self.writer.add_histogram_raw(name, **histogram_arguments(histogram), global_step=images_seen)

    @rank_zero_only
    def log_results(self, records: Sequence[Record]) -> None:
        from torch.utils.tensorboard.summary import hparams

        for summary in hparams(self.settings, {record.key: record.value for record in records}):
            self.writer.file_writer.add_summary(summary)
        for record in records:
            self.writer.add_text(f"protocol/{record.key}", f"    {dumps(record.to_dict())}")

    @rank_zero_only
    def save(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    @rank_zero_only
    def end(self, exit_code: int) -> None:
        if self._writer is not None:
            self._writer.close()


def flat(node: Mapping[str, Any], prefix: str = "") -> Settings:
    """Nested settings by dotted keys; values that are neither numbers nor texts become texts."""
    found: Settings = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return found


def histogram_arguments(histogram: Histogram) -> dict[str, Any]:
    """A histogram as arguments of TensorBoard; sums are computed from the bins' centres."""
    counts, edges = np.array(histogram.counts), histogram.edges
    centres = (edges[:-1] + edges[1:]) / 2
    return {
        "min": histogram.low,
        "max": histogram.high,
        "num": int(counts.sum()),
        "sum": float(counts @ centres),
        "sum_squares": float(counts @ centres**2),
        "bucket_limits": edges[1:].tolist(),
        "bucket_counts": counts.tolist(),
    }
