"""Markdown that reads well in a terminal too: tables with columns of one width, and texts from files made harmless."""

import re
from collections.abc import Sequence

from genmodels.report.words import is_web

SPECIAL = re.compile(r"([\\`*\[\]<>|])")


def plain(value: object) -> str:
    """A text from elsewhere on one line, without what Markdown or HTML would take for more than text."""
    return SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def code(value: object) -> str:
    """A text from elsewhere as it stands, in the type of code."""
    return "`" + " ".join(str(value).replace("`", "'").replace("|", "/").split()) + "`"


def link(label: str, target: str) -> str:
    """A link; the label by itself where the target is none that a page should point to."""
    return f"[{plain(label)}]({target})" if is_web(target) else plain(label)


def aligned(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table whose cells are Markdown already."""
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, rule, *body)
    )
