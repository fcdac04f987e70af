"""Histograms as a table beside metrics.csv: one row for each histogram, with its counts in one field."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from genmodels.disk.atomic import replacing
from genmodels.training.loggers.histogram import Histogram

COLUMNS = ["images_seen", "name", "low", "high", "counts"]

HistogramRow = tuple[int, str, Histogram]  # images_seen, name, histogram


def append(path: Path, histograms: Mapping[str, Histogram], images_seen: int) -> None:
    """Adds a row for each histogram, to a new file also the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            table.writerow(COLUMNS)
        table.writerows(_fields((images_seen, name, histogram)) for name, histogram in histograms.items())


def read(path: Path) -> list[HistogramRow]:
    """The rows of the file, the newest for each images_seen and name; an incomplete last row is left out."""
    if not path.exists():
        return []
    text = path.read_text()
    _, *rows = csv.reader(text[: text.rfind("\n") + 1].splitlines()) if "\n" in text else [[]]
    return list({(fields[0], fields[1]): _row(*fields) for fields in rows}.values())


def rewind(path: Path, images_seen: int) -> None:
    """Removes the rows after `images_seen`."""
    rows = [row for row in read(path) if row[0] <= images_seen]
    if path.exists():
        with replacing(path) as file:
            file.write(_text(rows).encode())


def _text(rows: Iterable[HistogramRow]) -> str:
    return "".join(",".join(fields) + "\n" for fields in [COLUMNS, *(_fields(row) for row in rows)])


def _fields(row: HistogramRow) -> list[str]:
    images_seen, name, histogram = row
    return [str(images_seen), name, str(histogram.low), str(histogram.high), " ".join(map(str, histogram.counts))]


def _row(images_seen: str, name: str, low: str, high: str, counts: str) -> HistogramRow:
    histogram = Histogram(low=float(low), high=float(high), counts=[int(count) for count in counts.split()])
    return int(images_seen), name, histogram
