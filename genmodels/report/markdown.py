"""The table of a paper's appendix: a row for each group of runs over seeds, with protocols as footnotes."""

import re
from collections.abc import Iterator, Sequence

from genmodels.report.contents import Contents
from genmodels.report.seeds import Spread
from genmodels.report.tables import heading
from genmodels.report.ways import ways
from genmodels.report.words import lines, mean_and_spread, plural

HASH = re.compile("[0-9a-f]{64}")
CHANGING = ("standard_error", "seed", "step", "world_size")  # of a protocol: not what a reader compares


class Notes:
    """Footnotes by their text, numbered as they are first used."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark(self, text: str) -> str:
        """The mark of a footnote with this text."""
        if text not in self.texts:
            self.texts.append(text)
        return f"[^{self.texts.index(text) + 1}]"


def markdown(contents: Contents) -> str:
    """A table for each dataset, and what their footnotes say."""
    notes = Notes()
    parts = [f"# {plural(len(contents.runs), 'run')}\n"]
    for dataset in sorted({run.dataset for run in contents.runs}):
        parts.append("\n".join(_table(contents, dataset, notes)) + "\n")
    if contents.skipped:
        parts.append(
            "\n".join(["Skipped:\n", *(f"- {_text(str(s.path))}: {_text(s.reason)}" for s in contents.skipped)]) + "\n"
        )
    parts += [f"[^{number}]: {text}\n" for number, text in enumerate(notes.texts, 1)]
    return "\n".join(parts)


def _table(contents: Contents, dataset: str, notes: Notes) -> Iterator[str]:
    numbers = [n for n, group in enumerate(contents.groups) if group.runs[0].dataset == dataset]
    rows = [(n, way) for n in numbers for way in ways(contents.groups[n].spreads)]
    there = {contents.columns.of(spread) for _, way in rows for spread in way.results}
    columns = [column for column in contents.order if column in there]
    yield f"## {_text(dataset)}\n"
    yield _line(["run", "family", "what differs", "n", *(heading(column) for column in columns)])
    yield _line(["---", "---", "---", "---:", *("---:" for _ in columns)])
    for n, way in rows:
        group = contents.groups[n]
        differs = ", ".join(contents.differs[contents.group_of.index(n)] + way.words)
        found = contents.columns.placed(way.results)
        cells = [_cell(found[column][0], len(group.seeds), notes) if column in found else "" for column in columns]
        yield _line([group.runs[0].name, group.runs[0].family, differs, str(len(group.seeds)), *cells])


def _cell(spread: Spread, seeds: int, notes: Notes) -> str:
    some = f" (n = {spread.n})" if spread.n < seeds else ""
    return f"{mean_and_spread(spread)}{some}{notes.mark(_protocol(spread))}"


def _protocol(spread: Spread) -> str:
    told = [f"{key}: {_hash(text)}" for key, text in lines(spread.protocol) if key.split(".")[0] not in CHANGING]
    return _text("; ".join(told))


def _hash(text: str) -> str:
    """The beginning of a hash, any other text as it is."""
    return f"{text[:12]}..." if HASH.fullmatch(text) else text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_text, cells))} |"


def _text(text: str) -> str:
    """A text that Markdown takes for nothing else: no column ends in it, and no HTML begins."""
    for sign in ("\\", "|", "<", "*", "_", "`"):
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
