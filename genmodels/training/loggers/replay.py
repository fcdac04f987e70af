"""Replays a run's logs from its directory: logs again, to another logger, what was logged before a resume.

Numbers come from metrics.csv, histograms from histograms.csv, pictures from samples/<kind>_<images_seen>.png.

W&B itself does not do this for offline runs. `wandb sync` replaces one part of a run by the next; `wandb beta sync`
joins the parts, so that what a killed run logged after its last checkpoint would appear twice: cutting it off
(`resume_from`) is available on few servers only (https://docs.wandb.ai/models/runs/rewind).
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from genmodels.errors import UserError
from genmodels.run.curves import FIRST, MetricsRow, read_rows
from genmodels.run.layout import CURVES
from genmodels.training.loggers import histogram_table
from genmodels.training.loggers.base import RunLogger

PICTURE = re.compile(r"(.+)_(\d{9,})\.png")  # kind, images_seen

Entries = Iterator[tuple[int, Callable[[], None]]]  # images_seen, a call that logs the entry


def is_whole(run_dir: Path, step: int, every: int) -> bool:
    """Whether metrics.csv contains the whole curve up to `step`, with a row expected every `every` steps.

    It does not if the run went without this file for a while: then the gap after its last row is at least `every`, and
    wider than all gaps between its rows.
    """
    steps = [0, *(int(row["step"]) for row in _rows(run_dir) if int(row["step"]) <= step)]
    widest = max(after - before for before, after in zip(steps, [*steps[1:], steps[-1]], strict=True))
    missed = step - steps[-1]
    return missed < every or missed <= widest


def replay(run_dir: Path, images_seen: int, logger: RunLogger) -> None:
    """Logs everything up to `images_seen` again to a logger, in the original order."""
    entries = [*_numbers(run_dir, logger), *_histograms(run_dir, logger), *_pictures(run_dir, logger)]
    for seen, log in sorted(entries, key=lambda entry: entry[0]):
        if seen <= images_seen:
            log()


def _numbers(run_dir: Path, logger: RunLogger) -> Entries:
    for row in _rows(run_dir):
        seen = int(row["images_seen"])
        numbers = {name: float(value) for name, value in row.items() if name not in FIRST}
        yield seen, partial(logger.log_metrics, {"images_seen": seen, **numbers}, step=int(row["step"]))


def _rows(run_dir: Path) -> list[MetricsRow]:
    """The rows of metrics.csv; [] where it is missing or not ours."""
    try:
        return read_rows(run_dir / CURVES)[1]
    except UserError:
        return []


def _histograms(run_dir: Path, logger: RunLogger) -> Entries:
    for seen, name, histogram in histogram_table.read(run_dir / "histograms.csv"):
        yield seen, partial(logger.log_histograms, {name: histogram}, seen)


def _pictures(run_dir: Path, logger: RunLogger) -> Entries:
    for file in sorted(run_dir.glob("samples/*.png")):
        if found := PICTURE.fullmatch(file.name):
            yield int(found[2]), partial(_show, logger, found[1], file, int(found[2]))


def _show(logger: RunLogger, kind: str, file: Path, images_seen: int) -> None:
    with Image.open(file) as picture:
        logger.log_pictures({kind: picture}, images_seen)
