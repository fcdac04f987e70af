"""Where a training begins: at step 0, or at the last checkpoint of the run in its directory."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genmodels.config.changes import changes
from genmodels.config.resumed import is_fixed, moved, refusal
from genmodels.config.roles import Role, role
from genmodels.disk.atomic import remove_unfinished
from genmodels.errors import UserError
from genmodels.rank import is_rank_zero
from genmodels.run.checkpoint import read_checkpoint
from genmodels.run.config import WRITTEN_BY
from genmodels.run.layout import CHECKPOINTS, CONFIG
from genmodels.run.trust import read_config


@dataclass
class Beginning:
    """Where a training begins."""

    checkpoint: Path | None = None  # None: at step 0
    step: int = 0
    images_seen: int = 0
    data: str = ""  # fingerprint of the training data in the checkpoint
    changed: dict[str, list] = field(default_factory=dict)  # key: [value before, value now]


def beginning(config: Mapping[str, Any]) -> Beginning:
    """The beginning of a new run, or of one to resume. UserError if a new run's directory contains a run already, or if
    a resume would change what is trained.

    A run is resumed if `resume` is set, or if SLURM has started its job again. Without a checkpoint it starts at step
    0, which gives the same result.
    """
    run_dir = Path(config["run_dir"])
    exists = (run_dir / CONFIG).exists()
    if config["resume"] is None and not (queued_again() and exists):
        if exists and is_rank_zero():
            raise UserError(
                f"{run_dir} contains a run already; continue it with resume={shlex.quote(str(run_dir))}, or choose "
                "another hydra.run.dir"
            )
        return Beginning()
    before, now = read_config(run_dir / CONFIG), {**config, "resume": None}
    old, new = ({**moved(each, run_dir), WRITTEN_BY: None} for each in (before, now))
    changed = changes(old, new)
    for key, (was, value) in changed.items():
        if is_fixed(key):
            raise refusal(f"{key}={value} (it was {was})", run_dir)
    if is_rank_zero():
        remove_unfinished(run_dir)
    checkpoint = run_dir / CHECKPOINTS / "last.ckpt"
    if not checkpoint.exists():
        return Beginning(changed=changed)
    held = read_checkpoint(checkpoint)
    if "data" not in held:
        raise UserError(
            f"{checkpoint} is of an earlier version of genmodels; resume with that version, or start a new run"
        )
    return Beginning(checkpoint, held["global_step"], held["images_seen"], held["data"], changed)


def require_same_data(begun: Beginning, data: Any) -> None:
    """UserError where a resumed run would train on other data; their location may differ."""
    if begun.checkpoint is not None and begun.data != data.fingerprint("train"):
        raise UserError(
            f"the training data of {data.name} differ from those that the run was trained on; give the same files, or "
            "start a new run"
        )


def queued_again() -> bool:
    """Whether SLURM has requeued this job."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0


def is_finished(begun: Beginning, config: Mapping[str, Any], end: Mapping[str, Any]) -> bool:
    """Whether the run has taken its steps and was measured as this config asks for."""
    steps = config["trainer"]["max_steps"]
    ended = end.get("status") == 0 and 0 <= steps <= min(begun.step, end["step"])
    return ended and not any(role(key) is Role.MEASURES for key in begun.changed)


def resume_notes(begun: Beginning, config: Mapping[str, Any], world_size: int, before: Mapping[str, Any]) -> list[str]:
    """What the user should know about a resumed run, as lines; `before` is the last "start" of its history, or {}."""
    if not before:
        return []
    changed = ", ".join(f"{key}: {old} -> {new}" for key, (old, new) in begun.changed.items())
    lines = [f"continues from step {begun.step}" + (f" with {changed}" if changed else "")]
    if world_size != before["world_size"]:
        lines.append(
            f"{world_size} process(es) instead of {before['world_size']}: the data have the same order, but the noise "
            "differs, so the results are not bit-identical"
        )
    last, steps = config["scheduler"].get("total_steps"), config["trainer"]["max_steps"]
    if last is not None and "trainer.max_steps" in begun.changed and steps > last:
        rate = config["scheduler"]["final"] * config["optimizer"]["lr"]
        lines.append(
            f"the schedule ends at step {last} (scheduler.total_steps); after it the learning rate is {rate:g}"
        )
    return lines
