"""Output on the terminal: progress of an evaluation, the table of results, paths, and next commands."""

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
from genmodels.progress import progress_display
from genmodels.rank import is_rank_zero

console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)
PROTOCOL_KEYS = (
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
    """For `evaluate(progress=...)`: the progress of rank zero in each stage, with the time left."""
    return progress_display(console, quiet=not is_rank_zero())


def show_left_out(reasons: Mapping[str, str]) -> None:
    """Prints which of the chosen evaluators do not apply, and why."""
    for name, reason in reasons.items():
        console.print(f"left out: {name}: {reason}", soft_wrap=True, highlight=False)


def show_results(records: Sequence[Record], title: str) -> None:
    """Prints a table of results, each with the most important part of its protocol."""
    table = Table("metric", "value", "protocol", title=title, title_justify="left")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for record in records:
        spread = "" if record.std is None else f" ± {record.std:.3f}"
        about = ", ".join(
            f"{key} {_words(record.protocol[key])}" for key in PROTOCOL_KEYS if _is_news(key, record.protocol)
        )
        table.add_row(record.key + BETTER[record.mode], f"{record.value:.4f}{spread}", about)
    console.print(table)


def _is_news(key: str, protocol: Mapping[str, Any]) -> bool:
    """Whether a setting has an effect, so that it should be shown."""
    return protocol.get(key) is not None and (key not in NEUTRAL or protocol[key] != NEUTRAL[key])


def _words(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def show_next(run_dir: Path) -> None:
    """Prints what to do next with a trained run, as commands to copy."""
    run = shlex.quote(str(run_dir))
    commands = [f"sample run={run}", f"evaluate run={run}", f"report {run}", f"train resume={run} trainer.max_steps=N"]
    for i, command in enumerate(commands):
        console.print(f"{'' if i else 'next':9} genmodels {command}", soft_wrap=True, highlight=False, markup=False)


def show_paths(paths: dict[str, Path]) -> None:
    """Prints paths, one line each, never wrapped, so that they can be copied."""
    for what, path in paths.items():
        console.print(f"{what:9} {path}", soft_wrap=True, highlight=False)
