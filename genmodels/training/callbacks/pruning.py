"""Prunes jobs of a sweep: a job reports a metric at each evaluation, and ends if a pruner judges it hopeless.

Each job writes its own reports.json and reads those of the others, wherever they run: no job writes a file of another,
and a killed job that reports a step again changes nothing.
"""

import json
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import Trainer

from genmodels.disk.atomic import replacing
from genmodels.disk.strict_json import dumps
from genmodels.errors import Pruned, UserError
from genmodels.evaluators.results import Mode
from genmodels.run.layout import PRUNED
from genmodels.training.callbacks.evaluation import Evaluation
from genmodels.training.pace import Periodic

REPORTS_FILE = "reports.json"
DIRECTIONS: dict[Mode, Literal["minimize", "maximize"]] = {"min": "minimize", "max": "maximize"}  # in Optuna's words


@dataclass
class Reports:
    """The reports of a job so far."""

    values: dict[int, float] = field(default_factory=dict)  # step -> metric
    complete: bool = False  # whether the last step is among them
    kept: dict[str, Any] = field(default_factory=dict)  # the pruner's own attributes of the job
    record: dict[str, Any] | None = None  # the newest value with its protocol, as results.json has it

    @property
    def last(self) -> float | None:
        """The newest value."""
        return self.values[max(self.values)] if self.values else None

    @classmethod
    def read(cls, run_dir: Path) -> "Reports":
        """The reports in a run directory; empty where the file is missing or damaged."""
        try:
            facts = json.loads((run_dir / REPORTS_FILE).read_text(encoding="utf-8"))
            values = {int(step): float(value) for step, value in facts["values"].items()}
            record = facts.get("record")
            return cls(dict(sorted(values.items())), bool(facts["complete"]), dict(facts["kept"]), record)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls()

    def write(self, run_dir: Path) -> None:
        facts = {"values": self.values, "complete": self.complete, "kept": self.kept, "record": self.record}
        with replacing(run_dir / REPORTS_FILE) as file:
            file.write(dumps(facts).encode())


class Pruning(Periodic):
    """Reports the metric of each evaluation; must come after the callback that evaluates."""

    def __init__(
        self,
        *,
        dirpath: str,  # the run's directory, among those of the other jobs
        metric: str,  # a logged name, such as "val/bits_per_dim"
        mode: Mode,  # whether low or high values are better
        pruner: Any,  # an optuna.pruners.BasePruner; None: no job ends early
    ):
        self.run_dir = Path(dirpath)
        self.metric = metric
        self.mode = mode
        self.pruner = pruner

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if not pl_module.evaluated:
            return
        if self.metric not in pl_module.evaluated:
            known = ", ".join(pl_module.evaluated)
            raise UserError(
                f"hydra.sweeper.metric={self.metric} is not evaluated while training; choose one of {known}"
            )
        step, value = trainer.global_step, pl_module.evaluated[self.metric]
        hopeless = trainer.is_global_zero and self.report(
            step, value, complete=step == trainer.max_steps, record=self._record(trainer)
        )
        if trainer.strategy.broadcast(hopeless):
            raise Pruned(self.explain(step, value, trainer.is_global_zero))

    def _record(self, trainer: Trainer) -> dict[str, Any] | None:
        """The newest record of the metric, with its protocol."""
        evaluations = [one for one in trainer.callbacks if isinstance(one, Evaluation)]  # type: ignore[attr-defined]
        found = [record for one in evaluations for records in one.records.values() for record in records]
        return next((record.to_dict() for record in found if record.key == self.metric), None)

    def report(self, step: int, value: float, *, complete: bool, record: dict[str, Any] | None = None) -> bool:
        """Writes the value; returns whether the job must end. A complete job continues to its final evaluation."""
        reports = Reports.read(self.run_dir)
        reports.values[step], reports.complete, reports.record = value, complete, record
        hopeless = self.pruner is not None and self._judge(reports)
        reports.write(self.run_dir)
        return hopeless and not complete

    def _judge(self, own: Reports) -> bool:
        """The pruner's judgement in a study of all jobs by number; stores its attributes of this job in `own.kept`."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(direction=DIRECTIONS[self.mode], pruner=self.pruner, study_name="sweep")
        jobs = {job_number(folder): folder for folder in self.run_dir.parent.iterdir() if folder != self.run_dir}
        mine = job_number(self.run_dir)
        for number in range(max(mine, *jobs, 0) + 1):
            study.add_trial(_trial_of(own, running=True) if number == mine else _trial_in(jobs.get(number)))
        trial = optuna.Trial(study, study.trials[mine]._trial_id)
        hopeless = bool(trial.should_prune())  # it may be a numpy bool
        own.kept = study.trials[mine].system_attrs
        return hopeless

    def explain(self, step: int, value: float, writes: bool) -> str:
        """The sentence that says why the job ends; rank zero writes it into the directory."""
        judge = type(self.pruner).__name__
        sentence = f"at step {step} {self.metric} is {value:.4g}, which {judge} finds hopeless"
        if writes:
            with replacing(self.run_dir / PRUNED) as file:
                file.write(f"{sentence}\n".encode())
        return sentence


def job_number(folder: Path) -> int:
    """The number at the beginning of a job's directory name; -1 for other folders."""
    number, found, _ = folder.name.partition("_")
    return int(number) if found and number.isdecimal() else -1


def _trial_in(folder: Path | None) -> Any:
    """Another job as an Optuna trial; a missing job as one without reports."""
    if folder is None:
        return _trial_of(Reports())
    return _trial_of(Reports.read(folder), pruned=(folder / PRUNED).exists())


def _trial_of(reports: Reports, *, pruned: bool = False, running: bool = False) -> Any:
    """A job as a trial: complete if it has reported its last step, failed if that value is not finite."""
    from optuna.trial import TrialState, create_trial

    state = TrialState.RUNNING
    if not running and (pruned or reports.complete):
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        state = state if reports.last is not None and isfinite(reports.last) else TrialState.FAIL
    return create_trial(
        state=state,
        value=reports.last if state in (TrialState.PRUNED, TrialState.COMPLETE) else None,
        intermediate_values=reports.values,
        system_attrs=reports.kept,
    )
