"""What a person reads on the terminal: the head of a run, progress of an evaluation, the table of results."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from genmodels.evaluators.results import BETTER, Record
from genmodels.progress import shown
from genmodels.rank import is_rank_zero

console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)
SHOWN = (
    "bound",
    "draws",
    "reference",
    "n_reference",
    "features",
    "conditional_on",
    "sampler",
    "sampler_steps",
    "sampler_guidance",
    "sampler_temperature",
    "weights",
    "hardware",
    "note",
)
NEUTRAL = {"sampler_guidance": 1, "sampler_temperature": 1}


def evaluation_progress() -> AbstractContextManager[Any]:
    """For `evaluate(progress=...)`: what the first process has done of each stage, and when it will be done."""
    return shown(console, quiet=not is_rank_zero())


def show_left_out(reasons: Mapping[str, str]) -> None:
    """Says which of the chosen evaluators do not apply, and why, if there are any."""
    for name, reason in reasons.items():
        console.print(f"left out: {name}: {reason}", soft_wrap=True, highlight=False)


def show_results(records: Sequence[Record], title: str) -> None:
    """A table of results, each with the part of its protocol that tells it from others."""
    table = Table("metric", "value", "protocol", title=title, title_justify="left")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for record in records:
        spread = "" if record.std is None else f" ± {record.std:.3f}"
        about = ", ".join(f"{key} {_words(record.protocol[key])}" for key in SHOWN if _is_news(key, record.protocol))
        table.add_row(record.key + BETTER[record.mode], f"{record.value:.4f}{spread}", about)
    console.print(table)


def _is_news(key: str, protocol: Mapping[str, Any]) -> bool:
    """Whether a setting has a value that a person should see: one that does something."""
    return protocol.get(key) is not None and (key not in NEUTRAL or protocol[key] != NEUTRAL[key])


def _words(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def show_next(run_dir: Path) -> None:
    """What a person can do with a run that has been trained, as commands to be copied."""
    run = shlex.quote(str(run_dir))
    commands = [f"sample run={run}", f"evaluate run={run}", f"report {run}", f"train resume={run} trainer.max_steps=N"]
    for i, command in enumerate(commands):
        console.print(f"{'' if i else 'next':9} genmodels {command}", soft_wrap=True, highlight=False, markup=False)


def show_paths(paths: dict[str, Path]) -> None:
    """Where things lie, one line each, never wrapped so that they can be copied."""
    for what, path in paths.items():
        console.print(f"{what:9} {path}", soft_wrap=True, highlight=False)
