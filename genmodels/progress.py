"""Progress of a piece of work, with the time left: a bar on a terminal, lines at intervals elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from threading import Timer
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 5.0  # between two lines, at least
LINES = 10  # of a stage, at most, about

T = TypeVar("T")


class ProgressLines:
    """A line on stderr for each tenth of a stage, but none for stages that take only seconds.

    A stage that begins with a call with done=0 also gets a line after LINE_SECONDS, if no second call came before.
    """

    def __init__(self) -> None:
        self.stage = ""
        self.meanwhile = Timer(0, print)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Takes note that `done` of `total` parts of a stage are done."""
        now = time.monotonic()
        self.close()
        if not done:
            self.meanwhile = Timer(LINE_SECONDS, self.say, (f"{stage}: 0/{total}, {clock(LINE_SECONDS)} elapsed",))
            self.meanwhile.daemon = True
            self.meanwhile.start()
        if not done or stage != self.stage:
            self.stage, self.first, self.began = stage, done, now
            self.said, self.next = now, 0
        if done >= total or done < self.next or now - self.said < LINE_SECONDS:
            return
        elapsed = now - self.began
        left = elapsed / max(done - self.first, 1) * (total - done)
        self.say(f"{stage}: {done}/{total}, {clock(elapsed)} elapsed, {clock(left)} left")
        self.said, self.next = now, done + total // LINES

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Cancels the line about a stage without progress."""
        self.meanwhile.cancel()


@contextmanager
def progress_display(console: Console, *, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Yields a function of (stage, done, total): it shows bars on a terminal or in a notebook, lines elsewhere."""
    bars = console.is_jupyter or (console.is_terminal and not console.is_dumb_terminal)
    if not (quiet or bars):
        with closing(ProgressLines()) as lines:
            yield lines
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=quiet) as bar:
        tasks: dict[str, Any] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done)

        yield advance


def tracked(items: Sequence[T], stage: str, *, quiet: bool = False) -> Iterator[T]:
    """Iterates over the items, and shows the progress on stderr."""
    with progress_display(Console(stderr=True), quiet=quiet) as advance:
        for number, item in enumerate(items):
            advance(stage, number, len(items))
            yield item


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, such as 0:01:05."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
