"""genmodels list: the options of all groups and of their parts' groups, one line each: name and description."""

import sys
from collections.abc import Sequence
from pathlib import Path

from genmodels.cli.config_dir import config_dir
from genmodels.config.messages import suggestion
from genmodels.config.shipped import CONFIGS, description
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


USAGE = f"""usage: genmodels list [GROUP ...] [--config-dir DIR]

Shows the options of each group, with those in DIR, a folder of your own configs. Groups: {", ".join(GROUPS)}\
"""


def run(argv: list[str]) -> int:
    """Lists all groups, or the named ones."""
    if {"-h", "--help"} & set(argv):
        print(USAGE)
        return 0
    from rich.console import Console

    own, named = config_dir(argv)
    configs = [CONFIGS, *filter(None, [own])]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for group in wanted(named, configs):
        console.print(f"[bold]{group}[/bold]")
        found = options(configs, group)
        width = max(32, *map(len, found))
        for name, text in found.items():
            console.print(f"  {name:{width}} {text}", markup=False, overflow="ellipsis", no_wrap=True)
    return 0


def wanted(named: list[str], configs: Sequence[Path]) -> list[str]:
    """The named groups, or all, each with the groups of its parts. UserError where a group does not exist."""
    known = [each for group in GROUPS for each in (group, *parts(configs, group))]
    for group in named:
        if _singular(group) not in known:
            raise UserError(f"there is no group {group}; {suggestion(group, known)}")
    asked = [_singular(group) for group in named] or GROUPS
    return list(dict.fromkeys(each for group in asked for each in (group, *parts(configs, group))))


def _singular(group: str) -> str:
    """The name of a group; accepts a plural, such as "experiments"."""
    return group if group in GROUPS else group.removesuffix("s")


def parts(configs: Sequence[Path], group: str) -> list[str]:
    """The groups within a group, such as model/objective: the parts of its options."""
    return sorted({f"{group}/{folder.name}" for each in configs for folder in (each / group).glob("*/")})


def options(configs: Sequence[Path], group: str) -> dict[str, str]:
    """Name and first comment line of every config of a group; of one name in several folders the first counts."""
    files = [file for folder in reversed(configs) for file in (folder / group).glob("*.yaml")]
    return dict(sorted({file.stem: description(file) for file in files}.items()))
