"""What a run directory tells of its past: how the run ended, how far it came, how long it took, on what."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

Status = Literal["finished", "failed", "pruned", "interrupted", "unfinished"]
Event = dict[str, Any]  # a line of history.jsonl

OF_EXIT: dict[int, Status] = {0: "finished", 1: "failed", 2: "failed", 130: "interrupted", 143: "interrupted"}


@dataclass(frozen=True, kw_only=True)
class Past:
    """All that is known; a part that no file tells is None, or 0."""

    status: Status
    error: str | None
    step: int
    images_seen: int
    seconds: float | None
    seconds_per_image: float | None
    killed: int
    hardware: str | None
    commit: str | None
    damaged: str | None  # why history.jsonl is not believed


def past(folder: Path) -> Past:
    """The past of the run in a folder, from history.jsonl, metrics.csv, and what a sweep left."""
    events, damaged = _events(folder / "history.jsonl")
    starts = [event for event in events if event["event"] == "start"]
    spans = list(_spans(events))
    step, images_seen = _position(folder, events)
    seconds = sum(span.seconds for span in spans)
    images = sum(span.images for span in spans)
    status, error = _end(folder, events)
    return Past(
        status=status,
        error=error,
        step=step,
        images_seen=images_seen,
        seconds=seconds if spans else None,
        seconds_per_image=seconds / images if images else None,
        killed=len(starts) - len(spans),
        hardware=_text(starts, "hardware"),
        commit=_text(starts, "commit"),
        damaged=damaged,
    )


def _events(file: Path) -> tuple[list[Event], str | None]:
    """The starts and ends in the order of the lines, and what is wrong with the file, if anything is.

    A line that is cut off was being written when its process was killed, and is passed over.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    except (OSError, ValueError) as error:
        return [], f"cannot be read ({error})"
    events = [event for line in lines if (event := _parsed(line))]
    if len(events) < len(lines) - 1 or (lines and not events):
        return (
            events,
            f"has lines that are none of a history, {len(lines) - len(events)} of {len(lines)}; they are passed over",
        )
    return events, None


def _parsed(line: str) -> Event | None:
    try:
        event = json.loads(line)
        when = datetime.fromisoformat(event["time"])
        right = event["event"] in ("start", "end") and isinstance(event["step"], int) and when.tzinfo is not None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return event if right else None


@dataclass(frozen=True)
class Span:
    """A start whose end is known."""

    seconds: float
    images: float


def _spans(events: list[Event]) -> Iterator[Span]:
    """Each start that is followed by its end; images by the steps in between where the start does not tell them."""
    for start, end in zip(events, events[1:], strict=False):
        if (start["event"], end["event"]) == ("start", "end"):
            seconds = datetime.fromisoformat(end["time"]) - datetime.fromisoformat(start["time"])
            seen, step = end.get("images_seen"), end["step"]
            images = seen * (step - start["step"]) / step if isinstance(seen, int) and step else 0
            yield Span(max(0.0, seconds.total_seconds()), images)


def _position(folder: Path, events: list[Event]) -> tuple[int, int]:
    """Steps and images so far: by the last end, or by the last row of metrics.csv where that is further."""
    ends = [event for event in events if event["event"] == "end" and isinstance(event.get("images_seen"), int)]
    told = (ends[-1]["step"], ends[-1]["images_seen"]) if ends else (0, 0)
    return told if events and events[-1]["event"] == "end" and ends else max(told, _last_row(folder / "metrics.csv"))


def _last_row(file: Path) -> tuple[int, int]:
    try:
        row = file.read_text(encoding="utf-8").rpartition("\n")[0].rpartition("\n")[2].split(",")  # the last whole one
        return int(row[1]), int(float(row[0]))
    except (OSError, ValueError, IndexError):
        return 0, 0


def _end(folder: Path, events: list[Event]) -> tuple[Status, str | None]:
    """How the run ended, with the sentence that a sweep kept of it."""
    if sentence := _sentence(folder / "error.txt"):
        return "failed", sentence
    if sentence := _sentence(folder / "pruned.txt"):
        return "pruned", sentence
    if not events or events[-1]["event"] == "start":
        return "unfinished", None
    status = events[-1].get("status")
    ended = OF_EXIT.get(status, "failed") if isinstance(status, int) else "unfinished"
    return ended, f"exit status {status}" if ended == "failed" else None


def _sentence(file: Path) -> str | None:
    """The first 2,000 characters of what a file says; None where there is none."""
    try:
        return " ".join(file.read_text(encoding="utf-8", errors="replace")[:2000].split()) or file.name
    except OSError:
        return None


def _text(starts: list[Event], key: str) -> str | None:
    """What the last start that tells it says."""
    return next((str(start[key]) for start in reversed(starts) if start.get(key)), None)
