"""Result files, DOCS/baselines/EXPERIMENT/seed_S.json: a run's results and settings, small enough to be committed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from genmodels.config.check import check
from genmodels.disk.strict_json import dumps
from genmodels.errors import UserError
from genmodels.evaluators.results import Record
from genmodels.report.gather import Skipped

OF_FORMAT = 1  # the version of these files
FOLDER = "baselines"


@dataclass(frozen=True, kw_only=True)
class Result:
    """Everything about a run that has ended: its settings, machine and results."""

    version: int
    experiment: str
    seed: int
    status: Literal["finished", "failed"]
    error: str | None  # the sentence of a failed run
    exit: int
    command: str
    date: str | None  # of its start, UTC
    seconds: float | None  # of training and test, over all starts with a known end
    killed: int  # starts without an end
    steps: int
    images_seen: int
    hardware: str | None
    torch: str | None
    commit: str | None
    config: dict[str, Any]  # resolved, without paths
    records: list[dict[str, Any]]  # of results.json

    @property
    def command_of_any_seed(self) -> str:
        return self.command.replace(f" seed={self.seed}", " seed=S")

    def is_of(self, other: "Result") -> bool:
        """Whether both are of the same training."""
        return (self.experiment, self.seed) == (other.experiment, other.seed)

    def measured(self) -> list[Record]:
        return [Record.from_dict(record) for record in self.records]

    def __str__(self) -> str:
        """The text of its file."""
        return dumps(asdict(self), indent=1) + "\n"


def read_all(docs: Path) -> tuple[list[Result], list[Skipped]]:
    """All results, by experiment and seed, and the invalid files, with paths relative to the folder."""
    results, skipped = [], []
    for file in sorted((docs / FOLDER).glob("*/*.json")):
        try:
            results.append(read_result(file))
        except UserError as error:
            skipped.append(Skipped(file.relative_to(docs / FOLDER), str(error)))
    return sorted(results, key=lambda result: (result.experiment, result.seed)), skipped


def read_result(file: Path) -> Result:
    """Reads one file. UserError, without its name, where it is damaged, of an earlier version, or of another run."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"is damaged ({' '.join(str(error).split())[:100]})") from error
    version = found.get("version") if isinstance(found, dict) else None
    if version != OF_FORMAT:
        said = "has no version" if version is None else f"is of version {version}"
        raise UserError(f"{said}, expected version {OF_FORMAT}")
    _require_parts(found)
    result = Result(**found)
    if (result.experiment, f"seed_{result.seed}") != (file.parent.name, file.stem):
        raise UserError(f"says that it is of {result.experiment}, seed {result.seed}")
    return result


def _require_parts(found: dict[str, Any]) -> None:
    """UserError unless the keys and types are those of a result; nothing that its config names is imported."""
    config, records = found.get("config"), found.get("records")
    try:
        check(found | {"config": {}, "records": []}, Result)
    except UserError as error:
        raise UserError(f"is damaged: {error}") from error
    if not isinstance(config, dict) or not isinstance(records, list) or not all(map(_is_record, records)):
        raise UserError("is damaged: its config is no mapping, or has a record that is none")


def _is_record(found: Any) -> bool:
    try:
        record = Record.from_dict(found)
    except (TypeError, ValueError, AttributeError):
        return False
    texts = isinstance(record.metric, str) and isinstance(record.split, str)
    return texts and isinstance(record.protocol, dict) and record.mode in ("min", "max", None)
