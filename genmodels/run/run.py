"""A run directory as one object: where things lie in it, and what they say, read when it is asked for."""

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
    """A run that was trained, or is being trained, wherever its directory lies now.

    A part that cannot be read raises a UserError, which leaves the others as they are. What is read is kept: ask a new
    `Run` for what has changed since.
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
        """Everything that the run was trained with."""
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
        """What was measured, each number with its protocol, in the order in which it was."""
        return [as_record(plain, self.config) for plain in read_results(self.file(layout.RESULTS))]

    @cached_property
    def status(self) -> Status:
        """How far the run has come, how it ended, how long it took and on what."""
        return status_of(self.path)

    @property
    def series(self) -> Curves:
        """What was logged while training: of each metric its values over the images seen."""
        return read_curves(self.file(layout.CURVES))

    @property
    def curves(self) -> "DataFrame":
        """The same as a table with a row for each number of images seen, a column for each metric."""
        from pandas import DataFrame, Series

        series = {name: Series(dict(points)) for name, points in self.series.items()}
        return DataFrame(series).rename_axis("images_seen").sort_index()

    @cached_property
    def overrides(self) -> tuple[str, ...]:
        """What a sweep set for this job; nothing where the run is no job of one."""
        try:
            found = json.loads(self.file(layout.JOB).read_text(encoding="utf-8"))["overrides"]
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            return ()
        return tuple(map(str, found)) if isinstance(found, list) else ()
