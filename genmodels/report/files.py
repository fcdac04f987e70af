"""The files of a report: its page, a Markdown table, a CSV of all results."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from genmodels.disk.atomic import write_text
from genmodels.report.contents import Contents
from genmodels.report.markdown import markdown
from genmodels.report.page import page

ABOUT = ("run", "name", "dataset", "family", "model", "seed", "status", "differs")
FIRST = (*ABOUT, "metric", "split", "value", "std", "mode")


def write(contents: Contents, folder: Path) -> dict[str, Path]:
    """Writes all three, each whole or not at all, and says where they are."""
    texts = {"page": page(contents), "markdown": markdown(contents), "csv": table(contents)}
    files = {"page": folder / "report.html", "markdown": folder / "report.md", "csv": folder / "report.csv"}
    for kind, file in files.items():
        write_text(file, texts[kind])
    return files


def table(contents: Contents) -> str:
    """One row for each record; each key of a protocol is a column."""
    records = [_row(contents, number, record) for number, run in enumerate(contents.runs) for record in run.results]
    columns = [*FIRST, *dict.fromkeys(key for row in records for key in row if key not in FIRST)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(v) for key, v in row.items()} for row in records)
    return text.getvalue()


def _row(contents: Contents, number: int, record: Any) -> dict[str, Any]:
    run = contents.runs[number]
    about = (run.path, run.name, run.dataset, run.family, run.model, run.seed, run.status.state)
    number_and_way = (record.metric, record.split, record.value, record.std, record.mode)
    values = (*about, " ".join(contents.differs[number]), *number_and_way)
    return {**dict(zip(FIRST, values, strict=True)), **{f"protocol.{key}": v for key, v in record.protocol.items()}}


def _cell(v: Any) -> Any:
    """A value as it stands in the file; a text that a spreadsheet would take for a formula is quoted."""
    if v is None or isinstance(v, int | float):
        return v
    text = json.dumps(v) if isinstance(v, list | dict) else str(v)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
