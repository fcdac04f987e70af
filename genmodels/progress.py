"""How far a piece of work is and when it will be done: a bar on a terminal, elsewhere a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from threading import Timer
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 5.0  # between two lines, at least
LINES = 10  # a stage, about, at most

T = TypeVar("T")


class ProgressLines:
    """A line on stderr for each tenth of a stage, and none of what is done within seconds. A stage whose first part
    takes longer, and that began with a call of none done, says so meanwhile."""

    def __init__(self) -> None:
        self.stage = ""
        self.meanwhile = Timer(0, print)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Takes note that so many of all are done."""
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
        """Nothing is said any more of what has begun."""
        self.meanwhile.cancel()


@contextmanager
def shown(console: Console, *, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Takes (stage, done, of how many): a bar for each stage on a terminal or in a notebook, lines elsewhere."""
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
    """The items one after the other, while that is shown on stderr."""
    with shown(Console(stderr=True), quiet=quiet) as advance:
        for number, item in enumerate(items):
            advance(stage, number, len(items))
            yield item


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, such as 0:01:05."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
