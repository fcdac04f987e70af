"""Offline W&B runs read back from their files, as `wandb leet inspect` prints them."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any


def folders(run_dir: Path) -> list[Path]:
    """The offline runs that were logged from a run directory, the newest last."""
    found = run_dir.glob("wandb/offline-run-*/run-*.wandb")
    return [file.parent for file in sorted(found, key=lambda file: file.stat().st_mtime_ns)]


def id_of(folder: Path) -> str:
    """The id of the run that a folder is of."""
    (file,) = folder.glob("run-*.wandb")
    return file.stem.removeprefix("run-")


def only(run_dir: Path) -> Path:
    """The offline run, of which there must be one."""
    (folder,) = folders(run_dir)
    return folder


@cache
def _inspect(folder: Path, *flags: str) -> str:
    command = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--json", *flags, folder]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def summary_of(folder: Path) -> dict[str, Any]:
    """Name, state, tags, config, summary and so on of a run."""
    return json.loads(_inspect(folder, "--summary"))


def records_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The records of a kind, such as "run", "metric" or "artifact", in their order."""
    records = map(json.loads, _inspect(folder).splitlines())
    return [record[kind] for record in records if record["type"] == kind]


def history_of(folder: Path) -> list[dict[str, Any]]:
    """What was logged, call by call; what belongs to a picture or histogram is at dotted keys."""
    return [record["item"] for record in records_of(folder, "history")]


def places_of(folder: Path, name: str) -> list[int]:
    """The images_seen at which a metric, or a medium, was logged."""
    return [item["images_seen"] for item in history_of(folder) if name in item or f"{name}._type" in item]
