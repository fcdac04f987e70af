"""results.json of a run directory: reads its records and adds records, safely from several processes."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from filelock import FileLock

from genmodels.disk.atomic import write_text
from genmodels.disk.strict_json import NOT_FINITE, dumps
from genmodels.errors import UserError

RESULTS_VERSION = 1


def read_results(file: Path) -> list[dict]:
    """The records of a results.json; [] where the file does not exist. Records of earlier versions have no `mode`.

    Values that are not finite stay the texts nan, inf and -inf of the file; `Record.from_dict` converts them.

    Raises:
        UserError: the file is damaged or of another version; it is not changed.
    """
    if not file.is_file():
        return []
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _no_results(file, f"is damaged ({error})") from error
    version = found.get("version") if isinstance(found, dict) else None
    if version != RESULTS_VERSION:
        about = "has no version" if version is None else f"is of version {version}"
        raise _no_results(file, f"{about}, expected version {RESULTS_VERSION}")
    records = found.get("results")
    if not isinstance(records, list) or not all(_is_record(record) for record in records):
        raise _no_results(file, "has entries that are not records of metric, split, value, std, protocol and mode")
    return records


def _is_record(found: Any) -> bool:
    """Whether a part of a file is a result as `Record.to_dict` gives it, with or without `mode`."""
    parts = {"metric", "split", "value", "std", "protocol"}
    if not isinstance(found, dict) or found.keys() - {"mode"} != parts or found.get("mode") not in ("min", "max", None):
        return False
    texts = isinstance(found["metric"], str) and isinstance(found["split"], str)
    numbers = _is_number(found["value"]) and (found["std"] is None or _is_number(found["std"]))
    return texts and numbers and isinstance(found["protocol"], dict)


def _is_number(found: Any) -> bool:
    """Whether a part of a file is a number within the range of floats, or the text nan, inf or -inf."""
    if isinstance(found, str):
        return found in NOT_FINITE
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return isinstance(found, float) or abs(found) <= sys.float_info.max


def _no_results(file: Path, why: str) -> UserError:
    return UserError(
        f"{file} {why}; move it away and evaluate the run again: genmodels evaluate run={quote(str(file.parent))}"
    )


def add_results(file: Path, records: Sequence[dict]) -> None:
    """Adds records to results.json; a record of the same metric, split and protocol replaces the earlier one.

    The standard error is in the protocol but is a measurement, so it does not distinguish records. Records of earlier
    versions do not name the generator of noise, which was the same on all devices. A file that `read_results` refuses
    is not changed. Processes that add to the same file wait for each other.
    """

    def key(record: Mapping[str, Any]) -> str:
        protocol = {"noise": "mt19937", **record["protocol"], "standard_error": None}
        return dumps([record["metric"], record["split"], protocol], sort_keys=True)

    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        merged = {key(record): record for record in [*read_results(file), *records]}
        found = {"version": RESULTS_VERSION, "results": list(merged.values())}
        write_text(file, dumps(found, indent=2) + "\n")
