"""The files of a report: its page, a Markdown table, a CSV of all results."""

import csv
import io
import json
from itertools import groupby
from pathlib import Path
from typing import Any

from genmodels.disk.atomic import write_text
from genmodels.evaluators.results import Record
from genmodels.report.columns import Column
from genmodels.report.contents import Contents
from genmodels.report.entries import Entry
from genmodels.report.markdown import aligned, plain
from genmodels.report.metrics import without_chance
from genmodels.report.page import web_page
from genmodels.report.words import brief, dotted, plural
from genmodels.run.run import Run

Notes = dict[str, int]  # footnotes and their numbers


def write_files(contents: Contents, folder: Path) -> dict[str, Path]:
    """Writes all three, each whole or not at all, and says where they are."""
    texts = {"page": web_page(contents), "markdown": appendix(contents), "csv": csv_table(contents)}
    files = {"page": folder / "report.html", "markdown": folder / "report.md", "csv": folder / "report.csv"}
    for kind, file in files.items():
        write_text(file, texts[kind])
    return files


def csv_table(contents: Contents) -> str:
    """One row for each record; each key of a protocol is a column."""
    rows = [_of_record(run, record, contents.told[run]) for run in contents.runs for record in run.results]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _plain(v) for key, v in row.items()} for row in rows)
    return text.getvalue()


def _of_record(run: Run, record: Record, differs: list[str]) -> dict[str, Any]:
    about = {"run": run.path, "name": run.name, "dataset": run.dataset, "family": run.family, "model": run.model}
    about |= {"seed": run.seed, "status": run.status.state, "differs": " ".join(differs)}
    number = {"metric": record.metric, "split": record.split, "value": record.value, "std": record.std}
    protocol = {f"protocol.{key}": v for key, v in record.protocol.items()}
    return {**about, **number, "mode": record.mode, **protocol}


def _plain(v: Any) -> Any:
    """A value as it stands in the file; a text that a spreadsheet would take for a formula is quoted."""
    if v is None or isinstance(v, int | float):
        return v
    text = json.dumps(v) if isinstance(v, list | dict) else str(v)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def appendix(contents: Contents) -> str:
    """As for a paper: for each dataset a table over seeds, whose footnotes say how each number was measured."""
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
