"""Markdown that reads well in a terminal too: tables with columns of one width, and texts from files made harmless."""

import re
from collections.abc import Sequence

SPECIAL = re.compile(r"([\\`*\[\]<>|])")


def text(value: object) -> str:
    """A text from elsewhere on one line, without what Markdown or HTML would take for more than text."""
    return SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def code(value: object) -> str:
    """A text from elsewhere as it stands, in the type of code."""
    return "`" + " ".join(str(value).replace("`", "'").replace("|", "/").split()) + "`"


def link(label: str, target: str) -> str:
    """A link; the label alone where the target is none that a page should point to."""
    safe = re.fullmatch(r"https?://[^\s()<>\[\]]+", target)
    return f"[{text(label)}]({target})" if safe else text(label)


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table whose cells are Markdown already."""
    widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
    rule = ["-" * width for width in widths]
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, rule, *body)
    ]
