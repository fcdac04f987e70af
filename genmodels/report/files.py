"""The files of a report: its page, a Markdown table, a CSV of all results."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from genmodels.disk.atomic import write_text
from genmodels.evaluators.results import Record
from genmodels.report.appendix import appendix
from genmodels.report.contents import Contents
from genmodels.report.page import web_page
from genmodels.run.run import Run


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
