"""A run directory as one object: the locations of its files and their contents, read on first access."""

import json
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmodels.evaluators.results import Record
from genmodels.families import family_of
from genmodels.run import layout
from genmodels.run.config import config_of
from genmodels.run.curves import Curves, read_curves
from genmodels.run.older import as_record
from genmodels.run.results import read_results
from genmodels.run.status import Status, status_of

if TYPE_CHECKING:
    from pandas import DataFrame


class Run(PathLike[str]):
    """A finished or running training, wherever its directory is now.

    An attribute whose file cannot be read raises a UserError; the others still work. What was read is cached: make a
    new `Run` to see later changes.
    """

    def __init__(self, path: str | PathLike[str]):
        self.path = Path(path).expanduser()

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.status.state}, {self.status.step} steps)"

    def file(self, name: str) -> Path:
        """The file of that name (`genmodels.run.layout`)."""
        return self.path / name

    @cached_property
    def config(self) -> dict[str, Any]:
        """All settings of the training."""
        return config_of(self.path)

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return self.config["name"]

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def dataset(self) -> str:
        return str(self.config["data"].get("name", "unknown"))

    @property
    def model(self) -> str:
        """The name of the model's class."""
        return self._target.rpartition(".")[2]

    @property
    def family(self) -> str:
        return family_of(self._target)

    @property
    def _target(self) -> str:
        return str(self.config["model"].get("_target_", "unknown"))

    @cached_property
    def results(self) -> list[Record]:
        """The results, each with its protocol, in the order of measurement."""
        return [as_record(plain, self.config) for plain in read_results(self.file(layout.RESULTS))]

    @cached_property
    def status(self) -> Status:
        """How far the run is, how it ended, how long it took and on which hardware."""
        return status_of(self.path)

    @property
    def series(self) -> Curves:
        """The metrics logged during training: for each, its values over images seen."""
        return read_curves(self.file(layout.CURVES))

    @property
    def curves(self) -> "DataFrame":
        """The same as a table: a row for each value of images seen, a column for each metric."""
        from pandas import DataFrame, Series

        series = {name: Series(dict(points)) for name, points in self.series.items()}
        return DataFrame(series).rename_axis("images_seen").sort_index()

    @cached_property
    def overrides(self) -> tuple[str, ...]:
        """The overrides that a sweep set for this job; () where the run is not a job of a sweep."""
        try:
            found = json.loads(self.file(layout.JOB).read_text(encoding="utf-8"))["overrides"]
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            return ()
        return tuple(map(str, found)) if isinstance(found, list) else ()
