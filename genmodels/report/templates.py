"""Pages from the templates in assets/: HTML, and Markdown that reads well in a terminal too."""

import re
from pathlib import Path
from typing import Any

from genmodels.report.metrics import canonical, compared, without_chance
from genmodels.report.words import brief, dotted, duration, four_digits, heading, in_full, in_short, is_web

ASSETS = Path(__file__).parent / "assets"
SPECIAL = re.compile(r"([\\`*\[\]<>|])")
BETWEEN_CELLS = re.compile(r"(?<!\\)\|")


def rendered(template: str, **given: Any) -> str:
    """The template with what it is given; in HTML all of that is escaped."""
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
    """A text from elsewhere on one line, without what Markdown or HTML would take for more than text."""
    return SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def code(value: object) -> str:
    """A text from elsewhere as it stands, in the type of code."""
    return "`" + " ".join(str(value).replace("`", "'").replace("|", "/").split()) + "`"


def link(label: str, target: str) -> str:
    """A link; the label by itself where the target is none that a page should point to."""
    return f"[{plain(label)}]({target})" if is_web(target) else plain(label)


def aligned(table: str) -> str:
    """A table with columns of one width and a line below its head; its cells are Markdown already."""
    rows = [[cell.strip() for cell in BETWEEN_CELLS.split(line)[1:-1]] for line in table.strip().splitlines()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


FILTERS = {
    "against": lambda protocol: canonical(compared(protocol)),  # the same for all that may be laid beside
    "distinct": lambda values: list(dict.fromkeys(values)),
    "number": four_digits,
    **{f.__name__: f for f in (aligned, brief, code, dotted, duration, heading, in_full, in_short, is_web)},
    **{f.__name__: f for f in (link, plain, without_chance)},
}
