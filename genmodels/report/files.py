"""The files of a report: its page, a Markdown table, a CSV of all results."""

import csv
import io
import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from genmodels.disk.atomic import write_text
from genmodels.report.contents import Contents
from genmodels.report.payload import payload
from genmodels.report.templates import ASSETS, rendered
from genmodels.report.words import plural
from genmodels.run.status import State


def write_files(contents: Contents, folder: Path) -> dict[str, Path]:
    """Writes the three files, each whole or not at all; returns their paths."""
    texts = {"page": web_page(contents), "markdown": appendix(contents), "csv": csv_table(contents)}
    files = {"page": folder / "report.html", "markdown": folder / "report.md", "csv": folder / "report.csv"}
    for kind, file in files.items():
        write_text(file, texts[kind])
    return files


def web_page(contents: Contents) -> str:
    """One HTML file that contains everything and opens without a network.

    Everything that comes from runs is escaped: in the markup by the template, in the data as JSON.
    """
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    counted = Counter(run.status.state for run in contents.runs)
    return rendered(
        "page.html",
        contents=contents,
        data=payload(contents),
        title=plural(len(contents.runs), "run"),
        statuses={state: counted[state] for state in get_args(State) if counted[state]},
        datasets=sorted({run.dataset for run in contents.runs}),
        families=sorted({run.family for run in contents.runs}),
        differ=any(contents.words(row) for row in (*contents.entries, *contents.over_seeds)),
        several=[row for row in contents.over_seeds if len(row.group.seeds) > 1],
        made=datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        style=Markup((ASSETS / "page.css").read_text(encoding="utf-8")),
        script=Markup((ASSETS / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
    )


def appendix(contents: Contents) -> str:
    """Markdown for a paper: for each dataset a table over seeds, with the protocols as footnotes."""
    return rendered("report.md", contents=contents, title=plural(len(contents.runs), "run"))


def csv_table(contents: Contents) -> str:
    """One row for each record; each key of a protocol is a column."""
    rows = []
    for run in contents.runs:
        about = {"run": run.path, "name": run.name, "dataset": run.dataset, "family": run.family, "model": run.model}
        about |= {"seed": run.seed, "status": run.status.state, "differs": " ".join(contents.told[run])}
        for record in run.results:
            number = {"metric": record.metric, "split": record.split, "value": record.value, "std": record.std}
            protocol = {f"protocol.{key}": v for key, v in record.protocol.items()}
            rows.append({**about, **number, "mode": record.mode, **protocol})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _in_a_cell(v) for key, v in row.items()} for row in rows)
    return text.getvalue()


def _in_a_cell(v: Any) -> Any:
    """A value as text for the file; a text that a spreadsheet would read as a formula is quoted."""
    if v is None or isinstance(v, int | float):
        return v
    text = json.dumps(v) if isinstance(v, list | dict) else str(v)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
