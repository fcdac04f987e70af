"""From a run directory to its result: whether it is the experiment's run, how it ended, and what it measured."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genmodels.report.gather import gather
from genmodels.report.ledger.experiments import Experiment, as_text, differences, machine_words, portable
from genmodels.report.ledger.results import VERSION, Result
from genmodels.run.layout import CONFIG
from genmodels.run.run import Run

PATHS = re.compile(r"(?<![\w./:-])[~/][^\s,;:'\"()]*/([^\s,;:'\"()/]+)")  # full ones; the last name in them


@dataclass(frozen=True)
class Found:
    """What lies in the directory of an experiment's run with one seed."""

    run: Run | None  # None: nothing, or what is no run
    trouble: str | None  # why it can neither be taken nor gone on with

    @property
    def finished(self) -> bool:
        return self.run is not None and self.run.status.state == "finished"


def look(folder: Path, experiment: Experiment, seed: int) -> Found:
    """What lies there, and whether it is the run that it should be."""
    if not (folder / CONFIG).is_file():
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
        date=run.status.began,
        torch=run.status.torch,
        seconds=None if run.status.seconds is None else round(run.status.seconds, 1),
        killed=run.status.killed,
        steps=run.status.step,
        images_seen=run.status.images_seen,
        hardware=run.status.hardware,
        commit=run.status.commit,
        records=[record.to_dict() for record in run.results],
    )


def failure(experiment: Experiment, seed: int, run: Run | None, sentence: str, status: int) -> Result:
    """The result of a run that ended with a sentence instead of numbers."""
    return Result(
        **_about(experiment, seed, run.config if run else {**experiment.config, "seed": seed}),
        status="failed",
        error=PATHS.sub(r"\1", sentence),
        exit=status,
        date=run.status.began if run else None,
        torch=run.status.torch if run else None,
        seconds=run.status.seconds if run else None,
        killed=run.status.killed if run else 0,
        steps=run.status.step if run else 0,
        images_seen=run.status.images_seen if run else 0,
        hardware=run.status.hardware if run else None,
        commit=run.status.commit if run else None,
        records=[],
    )


def _about(experiment: Experiment, seed: int, config: dict[str, Any]) -> dict[str, Any]:
    command = ["genmodels", "train", f"experiment={experiment.name}", f"seed={seed}"]
    command += machine_words(config, experiment)
    about = {"version": VERSION, "experiment": experiment.name, "seed": seed}
    return {**about, "command": " ".join(command), "config": portable(config)}
