"""Metrics as a table: one row for each logged step, one column for each metric."""

import csv
import io
import os
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_only

from genmodels.disk.atomic import replacing
from genmodels.run.curves import MetricsRow, read_rows
from genmodels.training.loggers import histogram_table
from genmodels.training.loggers.base import RunLogger
from genmodels.training.loggers.histogram import Histogram


class CSVLogger(RunLogger):
    """Writes `images_seen`, `step` and every metric; all metrics of one step are in one row.

    Histograms go to histograms.csv beside it. Both files are up to date after every call. Existing files are
    continued: see `begin`.
    """

    def __init__(self, *, path: str):
        super().__init__()
        self.path = Path(path)
        self.columns, rows = read_rows(self.path)
        self.rows: dict[int, MetricsRow] = {
            int(row["step"]): row for row in rows
        }  # step -> row, in order of appearance
        self.histograms = self.path.with_name("histograms.csv")
        self.tail: int | None = None  # byte where the last row begins; None: this process has not written the file yet

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Adds metrics to the row of `step`; a metric seen for the first time becomes a column."""
        assert step is not None, "a row needs its step"
        fresh = step not in self.rows
        row = self.rows.setdefault(step, {"step": step})
        row.update(metrics)
        unknown = [name for name in metrics if name not in self.columns]
        self.columns += unknown
        last = step == next(reversed(self.rows))
        if self.tail is None or unknown or not last or not self.path.exists():
            self._rewrite()
        else:
            self._write_last(row, self.tail, fresh)

    @rank_zero_only
    def begin(self, step: int, images_seen: int, every: int) -> None:
        """Discards the rows after `step`, which a resumed run will write again."""
        self.rows = {s: row for s, row in self.rows.items() if s <= step}
        if self.path.exists():
            self._rewrite()
        histogram_table.rewind(self.histograms, images_seen)

    @rank_zero_only
    def log_histograms(self, histograms: Mapping[str, Histogram], images_seen: int) -> None:
        histogram_table.append(self.histograms, histograms, images_seen)

    @rank_zero_only
    def save(self) -> None:
        """Flushes the rows so far to the disk."""
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the settings of a run are in its config.yaml."""

    def _write_last(self, row: MetricsRow, tail: int, fresh: bool) -> None:
        """Appends the row, or replaces the last line, which begins at byte `tail`."""
        with self.path.open("r+b") as file:
            self.tail = file.seek(0 if fresh else tail, os.SEEK_END if fresh else os.SEEK_SET)
            file.truncate()
            file.write(lines([row], self.columns))

    def _rewrite(self) -> None:
        """Writes the whole file again."""
        header = {name: name for name in self.columns}
        *before, last = [header, *self.rows.values()]
        text = lines(before, self.columns)
        self.tail = len(text)
        with replacing(self.path) as file:
            file.write(text + lines([last], self.columns))


def lines(rows: Iterable[MetricsRow], columns: list[str]) -> bytes:
    """Rows as lines of the file; a missing number is an empty field."""
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
