"""Renders the templates in assets/: HTML, and Markdown that is readable in a terminal, too."""

import re
from pathlib import Path
from typing import Any

from genmodels.report.metrics import canonical, compared, without_chance
from genmodels.report.words import brief, dotted, duration, four_digits, in_full, in_short, is_web

ASSETS = Path(__file__).parent / "assets"
SPECIAL = re.compile(r"([\\`*\[\]<>|])")
BETWEEN_CELLS = re.compile(r"(?<!\\)\|")


def rendered(template: str, **given: Any) -> str:
    """The rendered template; in HTML all given values are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template(template).render(given)


def plain(value: object) -> str:
    """A foreign text on one line, with the special characters of Markdown and HTML escaped."""
    return SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def code(value: object) -> str:
    """A foreign text as code, on one line."""
    return "`" + " ".join(str(value).replace("`", "'").replace("|", "/").split()) + "`"


def link(label: str, target: str) -> str:
    """A link; only the label where the target is not a web address."""
    return f"[{plain(label)}]({target})" if is_web(target) else plain(label)


def aligned(table: str) -> str:
    """A table with aligned columns and a line below its head; its cells are Markdown already."""
    rows = [[cell.strip() for cell in BETWEEN_CELLS.split(line)[1:-1]] for line in table.strip().splitlines()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


FILTERS = {
    "against": lambda protocol: canonical(compared(protocol)),  # equal for all results that may be compared
    "distinct": lambda values: list(dict.fromkeys(values)),
    "number": four_digits,
    **{f.__name__: f for f in (aligned, brief, code, dotted, duration, in_full, in_short, is_web)},
    **{f.__name__: f for f in (link, plain, without_chance)},
}
