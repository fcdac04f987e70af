"""genmodels list: every option of every group, a line each: its name and what it is."""

import sys
from pathlib import Path

from genmodels.cli.config.complaints import nearest
from genmodels.errors import UserError

GROUPS = (
    "experiment",
    "sweep",
    "data",
    "model",
    "evaluator",
    "features",
    "sampler",
    "optimizer",
    "scheduler",
    "trainer",
    "logger",
    "callbacks",
)


def run(argv: list[str]) -> int:
    """Lists all groups, or those that are named."""
    from rich.console import Console

    from genmodels.cli.config.places import CONFIGS

    if {"-h", "--help"} & set(argv):
        print(f"usage: genmodels list [GROUP ...]\n\nShows the options of each group. Groups: {', '.join(GROUPS)}")
        return 0
    for group in argv:
        if group.removesuffix("s") not in GROUPS and group not in GROUPS:
            raise UserError(f"there is no group {group}; {nearest(group, list(GROUPS))}")
    wanted = [group for group in GROUPS if not argv or group in argv or f"{group}s" in argv]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for group in wanted:
        console.print(f"[bold]{group}[/bold]")
        for name, text in options(CONFIGS / group):
            console.print(f"  {name:32} {text}", markup=False, overflow="ellipsis", no_wrap=True)
    return 0


def options(folder: Path) -> list[tuple[str, str]]:
    """Name and first comment line of every config of a group."""
    return [(file.stem, description(file)) for file in sorted(folder.glob("*.yaml"))]


def description(file: Path) -> str:
    """The first comment line that is no Hydra directive."""
    comments = (line[1:].strip() for line in file.read_text().splitlines() if line.startswith("#"))
    return next((line for line in comments if line and not line.startswith("@package")), "")
