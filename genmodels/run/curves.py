"""metrics.csv of a run directory: a row for each logged step, a column for each metric."""

import csv
import math
from pathlib import Path
from typing import Any

from genmodels.errors import UserError

FIRST = ["images_seen", "step"]  # columns; the others follow in order of appearance

MetricsRow = dict[str, Any]  # column -> number, or text when read from the file
Curve = list[tuple[float, float]]
Curves = dict[str, Curve]  # metric -> (images seen, value)


def read_rows(file: Path) -> tuple[list[str], list[MetricsRow]]:
    """Columns and rows of the file; an incomplete last line is left out.

    Raises:
        UserError: the file is not a table of metrics.
    """
    if not file.exists():
        return list(FIRST), []
    try:
        text = file.read_text(encoding="utf-8")
        header, *rows = csv.reader(text[: text.rfind("\n") + 1].splitlines()) if "\n" in text else [[]]
    except (ValueError, csv.Error, OSError) as error:
        raise _no_table(file) from error
    if header[:2] != FIRST or not all(len(row) == len(header) and row[1].isdigit() for row in rows):
        raise _no_table(file)
    return header, [{k: v for k, v in zip(header, row, strict=True) if v != ""} for row in rows]


def read_curves(file: Path) -> Curves:
    """Every metric over images seen, without values that are not finite. UserError: it is not a table of metrics."""
    curves: Curves = {}
    try:
        for row in read_rows(file)[1]:
            x = float(row["images_seen"])
            for name, value in row.items():
                if name not in FIRST and math.isfinite(y := float(value)):
                    curves.setdefault(name, []).append((x, y))
    except (ValueError, KeyError) as error:
        raise _no_table(file) from error
    return curves


def last_position(file: Path) -> tuple[int, int]:
    """Step and images seen of the last row; (0, 0) without rows."""
    try:
        row = read_rows(file)[1][-1]
        return int(row["step"]), int(float(row["images_seen"]))
    except (UserError, ValueError, LookupError):
        return 0, 0


def _no_table(file: Path) -> UserError:
    columns = ", ".join(FIRST)
    return UserError(f"{file} is not a table of metrics from genmodels, with columns {columns}, ...; move it away")
