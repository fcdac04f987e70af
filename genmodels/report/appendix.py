"""The table of a paper's appendix: a row for each group of runs over seeds, with protocols as footnotes."""

from itertools import groupby

from genmodels.report.columns import Column
from genmodels.report.contents import Contents
from genmodels.report.entries import Entry
from genmodels.report.markdown import aligned, plain
from genmodels.report.metrics import without_chance
from genmodels.report.words import brief, dotted, plural

Notes = dict[str, int]  # footnotes and their numbers


def appendix(contents: Contents) -> str:
    """A table for each dataset, and what their footnotes say."""
    notes: Notes = {}
    parts = [f"# {plural(len(contents.runs), 'run')}"]
    for dataset, rows in groupby(contents.over_seeds, key=lambda row: row.run.dataset):
        parts += [f"## {plain(dataset)}", _table(contents, list(rows), notes)]
    if contents.skipped:
        parts += ["Skipped:", "\n".join(f"- {plain(one.path)}: {plain(one.reason)}" for one in contents.skipped)]
    return "\n\n".join([*parts, *(f"[^{number}]: {note}" for note, number in notes.items())]) + "\n"


def _table(contents: Contents, rows: list[Entry], notes: Notes) -> str:
    there = {column for row in rows for column in row.shown(contents.columns)}
    columns = [column for column in contents.order if column in there]
    head = ["run", "family", "what differs", "n", *(plain(column) for column in columns)]
    return aligned(head, [_cells(contents, row, columns, notes) for row in rows])


def _cells(contents: Contents, row: Entry, columns: list[Column], notes: Notes) -> list[str]:
    shown, texts = row.shown(contents.columns), row.texts(contents.columns)
    about = [row.run.name, row.run.family, ", ".join(contents.words(row)), len(row.group.seeds)]
    numbers = [texts[c] + _mark(shown[c].protocol, notes) if c in shown else "" for c in columns]
    return [*map(plain, about), *numbers]


def _mark(protocol: dict, notes: Notes) -> str:
    """The mark of the footnote that has this protocol."""
    note = plain("; ".join(f"{key}: {brief(v)}" for key, v in dotted(without_chance(protocol))))
    return f"[^{notes.setdefault(note, len(notes) + 1)}]"
