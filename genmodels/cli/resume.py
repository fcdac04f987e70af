"""Going on with a run: its own config, what the command line changes of it, and what must not change."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from genmodels.changes import MACHINE, MOVABLE_KEYS, changes
from genmodels.cli.config.foreign import GROUPS, believed, say_left_out
from genmodels.cli.config.places import CONFIGS
from genmodels.errors import UserError

FIXED = ("model", "data", "seed", "ema", "optimizer", "players", "parameter_groups", "scheduler", "name", "experiment")
FIXED_KEYS = ("trainer.accumulate_grad_batches",)  # a position in the data counts batches
QUIET = [{f"override hydra/{which}_logging": "none"} for which in ("job", "hydra")]
PARTS, SETS = ("features", "sampler"), ("evaluator", "callbacks", "logger")  # groups: one option, or several


def resumed_config(argv: list[str], run_dir: Path, config: Mapping[str, Any]) -> Path:
    """A primary config for Hydra: the run's own, where a group that the command line names takes the place of its part.

    An option of `trainer` says where the run goes on; how long and in which steps it trains is still the run's.
    """
    for word in argv:
        key = word.lstrip("+~").split("=")[0].split("@")[0]
        if _is_fixed(key.replace("/", ".")):
            raise _refusal(word, run_dir)
    if {"-m", "--multirun"} & set(argv):
        raise UserError("a resume goes on with one run, and -m asks for several; give them one after the other")
    named = {word.partition("=")[0] for word in argv}
    node = {**_believed(config, run_dir), "resume": None, "trusted": []}
    node |= {group: None for group in PARTS if group in named} | {group: {} for group in SETS if group in named}
    if "trainer" in named:
        node["trainer"] = {key: value for key, value in node["trainer"].items() if key not in MACHINE}
    options = [{group: None} for group in (*PARTS, *SETS)]
    node["defaults"] = [{"trainer": None}, "_self_", *options, *QUIET]
    node["hydra"] = {"output_subdir": None, "run": {"dir": str(run_dir)}, "job": {"name": "train"}}
    ConfigStore.instance().store(name="resumed", node=node)
    return CONFIGS / "resumed"


def _believed(config: Mapping[str, Any], run_dir: Path) -> dict[str, Any]:
    """A run's config as its directory lies now, without the places of who made it, where that was somebody else."""
    node, left = moved(dict(config), run_dir), []
    for group in GROUPS & node.keys():
        node[group], out = believed(group, node[group], inside=run_dir, noted=config[group])
        left += out
    say_left_out(left, run_dir)
    return node


def moved(config: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """A run's config with the run's paths where the directory lies now."""
    before, now = config["run_dir"], str(run_dir.resolve())

    def there(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: there(value) for key, value in node.items()}
        if isinstance(node, list):
            return [there(value) for value in node]
        inside = isinstance(node, str) and (node == before or node.startswith(f"{before}/"))
        return now + node[len(before) :] if inside else node

    return there(config)


def _is_fixed(key: str) -> bool:
    first, last = key.split(".")[0], key.split(".")[-1]
    places = first == "data" and last in ("urls", *(name.split(".")[-1] for name in MOVABLE_KEYS))
    return (first in FIXED or key in FIXED_KEYS) and not places


def _refusal(what: str, run_dir: Path) -> UserError:
    return UserError(
        f"{what} would change what {run_dir} was trained with; a resume takes settings of trainer, callbacks, "
        "logger, evaluator, data.root and data.path, for anything else start a new run"
    )


@dataclass
class Beginning:
    """Where a training begins."""

    checkpoint: Path | None = None  # None: at step 0
    step: int = 0
    images_seen: int = 0
    data: str = ""  # fingerprint of the training data so far
    changed: dict[str, list] = field(default_factory=dict)  # key: its value before and now


def beginning(config: Mapping[str, Any]) -> Beginning:
    """A new run's, whose directory must not hold one already; or that of a run to go on with, if it may so.

    A run goes on where `resume` says so, or where SLURM has started its job again. Without a checkpoint it begins anew,
    which gives the same.
    """
    from genmodels.disk.atomic import remove_unfinished
    from genmodels.rank import is_rank_zero
    from genmodels.run.checkpoint import read_checkpoint
    from genmodels.run.config import WRITTEN_BY
    from genmodels.trust import read_config

    run_dir = Path(config["run_dir"])
    exists = (run_dir / "config.yaml").exists()
    if config["resume"] is None and not (queued_again() and exists):
        if exists and is_rank_zero():
            raise UserError(
                f"{run_dir} holds a run already; go on with resume={shlex.quote(str(run_dir))}, or choose another "
                "hydra.run.dir"
            )
        return Beginning()
    before, now = read_config(run_dir / "config.yaml"), {**config, "resume": None}
    old, new = ({**moved(each, run_dir), WRITTEN_BY: None} for each in (before, now))
    changed = changes(old, new)
    for key, (was, value) in changed.items():
        if _is_fixed(key):
            raise _refusal(f"{key}={value} (it was {was})", run_dir)
    if is_rank_zero():
        remove_unfinished(run_dir)
    checkpoint = run_dir / "checkpoints" / "last.ckpt"
    if not checkpoint.exists():
        return Beginning(changed=changed)
    held = read_checkpoint(checkpoint)
    if "data" not in held:
        raise UserError(f"{checkpoint} is of an earlier version of genmodels; go on with that one, or start a new run")
    return Beginning(checkpoint, held["global_step"], held["images_seen"], held["data"], changed)


def require_same_data(begun: Beginning, data: Any) -> None:
    """UserError where a run would go on with other training data, wherever they lie now."""
    if begun.checkpoint is not None and begun.data != data.fingerprint("train"):
        raise UserError(
            f"the training data of {data.name} are other than those that the run was trained on; give it the same "
            "files, or start a new run"
        )


def queued_again() -> bool:
    """Whether SLURM has put this job back into its queue before."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0


def is_finished(begun: Beginning, config: Mapping[str, Any], end: Mapping[str, Any]) -> bool:
    """Whether the run has taken its steps and was measured as this config asks for."""
    measured = end.get("status") == 0 and not any(key.split(".")[0] in (*PARTS, "evaluator") for key in begun.changed)
    return measured and 0 <= config["trainer"]["max_steps"] <= begun.step


def news(begun: Beginning, config: Mapping[str, Any], world_size: int, before: Mapping[str, Any]) -> list[str]:
    """What a person should know of a run that goes on; `before` is the line of its history that began it last."""
    if not before:
        return []
    changed = ", ".join(f"{key}: {old} -> {new}" for key, (old, new) in begun.changed.items())
    lines = [f"goes on from step {begun.step}" + (f" with {changed}" if changed else "")]
    if world_size != before["world_size"]:
        lines.append(
            f"{world_size} process(es) instead of {before['world_size']}: the same data in the same order, but other "
            "noise, so not the same numbers to the last bit"
        )
    last, steps = config["scheduler"].get("total_steps"), config["trainer"]["max_steps"]
    if last is not None and "trainer.max_steps" in begun.changed and steps > last:
        rate = config["scheduler"]["final"] * config["optimizer"]["lr"]
        lines.append(f"the schedule ends at step {last} (scheduler.total_steps): from there on the rate is {rate:g}")
    return lines
