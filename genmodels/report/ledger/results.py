"""Result files: DOCS/baselines/EXPERIMENT/seed_S.json, what a run gave and how, small enough to be committed."""

import json
import types
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from genmodels.disk.atomic import replacing
from genmodels.disk.strict_json import NOT_FINITE, dumps
from genmodels.errors import UserError
from genmodels.evaluators.results import Record

VERSION = 1
FOLDER = "baselines"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What there is to know of a run once it has ended: enough to say what was run, on what, and what came out."""

    version: int
    experiment: str
    seed: int
    status: Literal["finished", "failed"]
    error: str | None  # the sentence that a failed one ended with
    exit: int
    command: str
    date: str | None  # when it began, UTC
    seconds: float | None  # of training and test over all starts whose end is known
    killed: int  # starts without an end
    steps: int
    images_seen: int
    hardware: str | None
    torch: str | None
    commit: str | None
    config: dict[str, Any]  # resolved, without places
    records: list[dict[str, Any]]  # of results.json

    def measured(self) -> list[Record]:
        return [Record.from_dict(record) for record in self.records]


@dataclass(frozen=True)
class Damaged:
    """A result file that is not believed."""

    name: str  # its path below the folder
    reason: str


def file_of(docs: Path, experiment: str, seed: int) -> Path:
    return docs / FOLDER / experiment / f"seed_{seed}.json"


def write(docs: Path, result: Result) -> Path:
    """Writes a result file, whole or not at all."""
    file = file_of(docs, result.experiment, result.seed)
    with replacing(file) as stream:
        stream.write((dumps(asdict(result), indent=1) + "\n").encode())
    return file


def read_all(docs: Path) -> tuple[list[Result], list[Damaged]]:
    """All result files, by experiment and seed, and those that are not believed."""
    results, damaged = [], []
    for file in sorted((docs / FOLDER).glob("*/*.json")):
        try:
            results.append(read(file))
        except UserError as error:
            damaged.append(Damaged(str(file.relative_to(docs / FOLDER)), str(error)))
    return sorted(results, key=lambda result: (result.experiment, result.seed)), damaged


def read(file: Path) -> Result:
    """One result file. Raises UserError, without the file's name, where it is damaged, older, or of another run."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"is damaged ({' '.join(str(error).split())[:100]})") from error
    version = found.get("version") if isinstance(found, dict) else None
    if version != VERSION:
        said = "has no version" if version is None else f"is of version {version}"
        raise UserError(f"{said}, expected version {VERSION}")
    _require_fields(found)
    result = Result(**found)
    if (result.experiment, f"seed_{result.seed}") != (file.parent.name, file.stem):
        raise UserError(f"says that it is of {result.experiment}, seed {result.seed}")
    return result


def _require_fields(found: dict[str, Any]) -> None:
    """UserError unless it has the keys of a result, each of its kind."""
    hints = get_type_hints(Result)
    if found.keys() != hints.keys():
        odd = sorted(found.keys() ^ hints.keys())
        raise UserError(f"{'has' if odd[0] in found else 'lacks'} {odd[0]}")
    if wrong := [field.name for field in fields(Result) if not _fits(found[field.name], hints[field.name])]:
        raise UserError(f"has a {wrong[0]} of another kind")
    if not all(_is_record(record) for record in found["records"]):
        raise UserError("has a record that is none")


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is types.UnionType:
        return any(_fits(value, kind) for kind in get_args(hint))
    if hint is float:
        return value in NOT_FINITE or (isinstance(value, int | float) and not isinstance(value, bool))
    return isinstance(value, get_origin(hint) or hint) and not isinstance(value, bool)


def _is_record(found: Any) -> bool:
    """Whether it is a record; an older one has no `mode`."""
    kinds: dict[str, Any] = {"metric": str, "split": str, "value": float, "std": float | None, "protocol": dict}
    kinds["mode"] = Literal["min", "max", None]
    whole = {"mode": None, **found} if isinstance(found, dict) else {}
    return whole.keys() == kinds.keys() and all(_fits(whole[key], kind) for key, kind in kinds.items())
