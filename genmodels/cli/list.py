"""genmodels list: the options of all groups and of their parts' groups, one line each: name and description."""

import sys
from pathlib import Path

from genmodels.config.messages import suggestion
from genmodels.config.shipped import description
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
    "ema",
    "players",
    "parameter_groups",
    "trainer",
    "logger",
    "callbacks",
)


def run(argv: list[str]) -> int:
    """Lists the named groups, or all."""
    from rich.console import Console

    from genmodels.config.shipped import CONFIGS

    if {"-h", "--help"} & set(argv):
        print(f"usage: genmodels list [GROUP ...]\n\nShows the options of each group. Groups: {', '.join(GROUPS)}")
        return 0
    for group in argv:
        if _singular(group) not in (known := [*GROUPS, *(part for each in GROUPS for part in parts(CONFIGS, each))]):
            raise UserError(f"there is no group {group}; {suggestion(group, known)}")
    asked = [_singular(group) for group in argv] or GROUPS
    wanted = [each for group in asked for each in (group, *parts(CONFIGS, group))]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for group in dict.fromkeys(wanted):
        console.print(f"[bold]{group}[/bold]")
        found = options_in(CONFIGS / group)
        width = max(32, *(len(name) for name, _ in found))
        for name, text in found:
            console.print(f"  {name:{width}} {text}", markup=False, overflow="ellipsis", no_wrap=True)
    return 0


def _singular(group: str) -> str:
    """The name of a group, also from its plural, such as "experiments"."""
    return group if group in GROUPS else group.removesuffix("s")


def parts(configs: Path, group: str) -> list[str]:
    """The groups within a group, such as model/objective, whose options are parts of its options."""
    return sorted(f"{group}/{folder.name}" for folder in (configs / group).glob("*/"))


def options_in(folder: Path) -> list[tuple[str, str]]:
    """Name and first comment line of every config of a group."""
    return [(file.stem, description(file)) for file in sorted(folder.glob("*.yaml"))]
