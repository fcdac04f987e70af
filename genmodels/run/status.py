"""The status of a run: how it ended, how far it came, how long it took, on which hardware."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from genmodels.run.curves import last_position
from genmodels.run.history import Event, read_events
from genmodels.run.layout import CURVES, FAILED, HISTORY, PRUNED

State = Literal["finished", "failed", "pruned", "interrupted", "unfinished"]
OF_EXIT: dict[int, State] = {0: "finished", 1: "failed", 2: "failed", 130: "interrupted", 143: "interrupted"}


@dataclass(frozen=True, kw_only=True)
class Status:
    """The known facts; one that no file states is None, or 0."""

    state: State
    error: str | None
    step: int
    images_seen: int
    seconds: float | None
    seconds_per_image: float | None
    killed: int  # starts without an end
    hardware: str | None
    commit: str | None
    began: str | None  # time of the first start
    torch: str | None  # torch's version at the first start
    damaged: str | None  # what is wrong with history.jsonl


def status_of(folder: Path) -> Status:
    """The status of the run in a folder, from history.jsonl, metrics.csv, and the files that a sweep wrote."""
    events, damaged = read_events(folder / HISTORY)
    starts = [event for event in events if event["event"] == "start"]
    spans = list(_spans(events))
    step, images_seen = _position(folder, events)
    seconds = sum(span.seconds for span in spans)
    images = sum(span.images for span in spans)
    state, error = _end(folder, events)
    return Status(
        state=state,
        error=error,
        step=step,
        images_seen=images_seen,
        seconds=seconds if spans else None,
        seconds_per_image=seconds / images if images else None,
        killed=len(starts) - len(spans),
        hardware=_text(starts, "hardware"),
        commit=_text(starts, "commit"),
        began=_text(starts[:1], "time"),
        torch=_text(starts[:1], "torch"),
        damaged=damaged,
    )


@dataclass(frozen=True)
class Span:
    """A start whose end is known."""

    seconds: float
    images: float


def _spans(events: list[Event]) -> Iterator[Span]:
    """Each start that is followed by its end; its images are those seen so far times its share of the steps."""
    for start, end in zip(events, events[1:], strict=False):
        if (start["event"], end["event"]) == ("start", "end"):
            seconds = datetime.fromisoformat(end["time"]) - datetime.fromisoformat(start["time"])
            seen, step = end.get("images_seen"), end["step"]
            images = seen * (step - start["step"]) / step if isinstance(seen, int) and step else 0
            yield Span(max(0.0, seconds.total_seconds()), images)


def _position(folder: Path, events: list[Event]) -> tuple[int, int]:
    """Steps and images so far: those of the last end, or of the last row of metrics.csv if that is later."""
    ends = [event for event in events if event["event"] == "end" and isinstance(event.get("images_seen"), int)]
    told = (ends[-1]["step"], ends[-1]["images_seen"]) if ends else (0, 0)
    return told if events and events[-1]["event"] == "end" and ends else max(told, last_position(folder / CURVES))


def _end(folder: Path, events: list[Event]) -> tuple[State, str | None]:
    """How the run ended, with the sentence that a sweep wrote about it."""
    if sentence := _sentence(folder / FAILED):
        return "failed", sentence
    if sentence := _sentence(folder / PRUNED):
        return "pruned", sentence
    if not events or events[-1]["event"] == "start":
        return "unfinished", None
    status = events[-1].get("status")
    ended = OF_EXIT.get(status, "failed") if isinstance(status, int) else "unfinished"
    return ended, f"exit status {status}" if ended == "failed" else None


def _sentence(file: Path) -> str | None:
    """The first 2,000 characters of a file, on one line; None where there is no file."""
    try:
        return " ".join(file.read_text(encoding="utf-8", errors="replace")[:2000].split()) or file.name
    except OSError:
        return None


def _text(starts: list[Event], key: str) -> str | None:
    """The value of this key in the last start that has it."""
    return next((str(start[key]) for start in reversed(starts) if start.get(key)), None)
