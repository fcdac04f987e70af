"""From a run directory to its result: whether it is the experiment's run, how it ended, and what it measured."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genmodels.ledger.experiments import Experiment, as_text, differences, machine_words, portable
from genmodels.ledger.results import VERSION, Result
from genmodels.report.gather import Run, gather

PATHS = re.compile(r"(?<![\w./:-])[~/][^\s,;:'\"()]*/([^\s,;:'\"()/]+)")  # full ones; the last name in them


@dataclass(frozen=True)
class Found:
    """What lies in the directory of an experiment's run with one seed."""

    run: Run | None  # None: nothing, or what is no run
    trouble: str | None  # why it can neither be taken nor gone on with

    @property
    def finished(self) -> bool:
        return self.run is not None and self.run.status == "finished"


def look(folder: Path, experiment: Experiment, seed: int) -> Found:
    """What lies there, and whether it is the run that it should be."""
    if not (folder / "config.yaml").is_file():
        return Found(None, None)
    gathered = gather([folder])
    if gathered.skipped:
        return Found(None, f"{gathered.skipped[0].path} {gathered.skipped[0].reason}; move it away to run it again")
    run = gathered.runs[0]
    if run.seed != seed:
        return Found(run, f"{folder} holds a run with seed {run.seed}; move it away, or give another out=DIR")
    if other := differences(run.config, experiment):
        return Found(run, f"{folder} holds a run of another config: {as_text(other)}; move it away to run it again")
    return Found(run, None)


def result_of(run: Run, experiment: Experiment) -> Result:
    """The result of a run that is finished."""
    return Result(
        **_about(experiment, run.seed, run.config),
        status="finished",
        error=None,
        exit=0,
        date=_began(run.path, "time"),
        torch=_began(run.path, "torch"),
        seconds=None if run.seconds is None else round(run.seconds, 1),
        killed=run.killed,
        steps=run.step,
        images_seen=run.images_seen,
        hardware=run.hardware,
        commit=run.commit,
        records=[record.to_dict() for record in run.records],
    )


def failure(experiment: Experiment, seed: int, run: Run | None, sentence: str, status: int) -> Result:
    """The result of a run that ended with a sentence instead of numbers."""
    return Result(
        **_about(experiment, seed, run.config if run else {**experiment.config, "seed": seed}),
        status="failed",
        error=PATHS.sub(r"\1", sentence),
        exit=status,
        date=_began(run.path, "time") if run else None,
        torch=_began(run.path, "torch") if run else None,
        seconds=run.seconds if run else None,
        killed=run.killed if run else 0,
        steps=run.step if run else 0,
        images_seen=run.images_seen if run else 0,
        hardware=run.hardware if run else None,
        commit=run.commit if run else None,
        records=[],
    )


def _about(experiment: Experiment, seed: int, config: dict[str, Any]) -> dict[str, Any]:
    command = ["genmodels", "train", f"experiment={experiment.name}", f"seed={seed}"]
    command += machine_words(config, experiment)
    about = {"version": VERSION, "experiment": experiment.name, "seed": seed}
    return {**about, "command": " ".join(command), "config": portable(config)}


def _began(folder: Path, key: str) -> str | None:
    """What a run's history says of its first start: its "time", or the version of "torch"."""
    try:
        first = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()[0]
        return str(json.loads(first)[key])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
