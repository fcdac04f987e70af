"""Progress of the whole run in steps: a bar on a terminal, a plain line at every tenth of the run elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from genmodels.progress import ProgressLines, clock
from genmodels.training.pace import Periodic

REFRESH_SECONDS = 0.25
WINDOW_SECONDS = 10.0  # of the average of images/s
TENTHS = 10  # plain lines per run


class Rate:
    """Images per second over the last seconds of training."""

    def __init__(self) -> None:
        self.marks: deque[tuple[float, int]] = deque()  # (seconds, images_seen)

    def mark(self, images: int, now: float) -> None:
        self.marks.append((now, images))
        while len(self.marks) > 2 and now - self.marks[1][0] > WINDOW_SECONDS:
            self.marks.popleft()

    def __call__(self) -> float | None:
        """Images per second; None before two marks."""
        if len(self.marks) < 2 or self.marks[0] == self.marks[-1]:
            return None
        (start, before), (end, after) = self.marks[0], self.marks[-1]
        return (after - before) / max(end - start, 1e-9)


class Progress(Periodic):
    """Shows steps, time, images/s and the last loss, on stderr of rank zero; a resumed run starts at its step."""

    def __init__(self) -> None:
        self.bar: RichProgress | None = None  # exists while training on a terminal
        self.rate = Rate()
        self.title = ""
        self.total: int | None = None  # steps; None: unknown
        self.start = 0  # step that this process began at
        self.began = 0.0  # seconds
        self.marked = 0.0  # seconds, when the speed was last measured
        self.said = False  # whether something other than training was shown
        self.next_line = 0  # step of the next plain line
        self.printed = 0  # step of the newest plain line

    def say(self, text: str) -> None:
        """Shows another activity, such as "evaluating", until training continues."""
        self.said = True
        if self.bar:
            self.bar.update(self.bar.task_ids[0], description=f"{self.title}: {text}", refresh=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        self.title = f"{type(pl_module.model).__name__} on {pl_module.data.name}"
        self.total = trainer.max_steps if trainer.max_steps >= 0 else None
        self.start = self.printed = trainer.global_step
        self.began = time.monotonic()
        self.rate, self.said = Rate(), False
        self.rate.mark(pl_module.images_seen, self.began)
        self.marked = self.began
        self.next_line = self.line_after(self.start)
        self.bar = make_bar()
        if self.bar:
            self.bar.add_task(self.title, total=self.total, completed=self.start, speed="", loss="")
            self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not trainer.is_global_zero:
            return
        now = time.monotonic()
        if self.said:  # the time in between must not count for the speed of training
            self.rate, self.said = Rate(), False
        if now - self.marked >= REFRESH_SECONDS:
            self.rate.mark(pl_module.images_seen, now)
            self.marked = now
            self.show_bar(trainer.global_step, pl_module.last_loss)
        if trainer.global_step >= self.next_line:
            self.rate.mark(pl_module.images_seen, now)
            self.print_line(trainer.global_step, pl_module.last_loss)
            self.next_line = self.line_after(trainer.global_step)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        self.show_bar(trainer.global_step, pl_module.last_loss)
        if trainer.global_step > self.printed:  # it ended before its last step
            self.print_line(trainer.global_step, pl_module.last_loss)
        self.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        self.stop()

    def teardown(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        self.stop()

    def next_due(self, step: int) -> int:
        return self.next_line if self.next_line > step else super().next_due(step)  # lines are of rank zero

    def line_after(self, step: int) -> int:
        """The step of the next plain line: the next tenth of the run, or twice the step where no end is known."""
        if self.total is None:
            return max(2 * step, 1)
        return next((tenth for i in range(1, TENTHS) if (tenth := self.total * i // TENTHS) > step), self.total)

    def show_bar(self, step: int, loss: float | None) -> None:
        if self.bar:
            self.bar.update(
                self.bar.task_ids[0],
                completed=step,
                description=self.title,
                speed=speed_text(self.rate()),
                loss=loss_text(loss),
            )

    def print_line(self, step: int, loss: float | None) -> None:
        if self.bar:
            return
        self.printed = step
        elapsed = time.monotonic() - self.began
        total = f"/{self.total}" if self.total is not None else ""
        left = elapsed / max(step - self.start, 1) * (self.total - step) if self.total is not None else None
        parts = [f"step {step}{total}", speed_text(self.rate()), loss_text(loss), f"{clock(elapsed)} elapsed"]
        parts += [f"{clock(left)} left"] if left else []
        print(f"{self.title}: " + ", ".join(part for part in parts if part), file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Stops the bar and releases the terminal."""
        if self.bar:
            self.bar.stop()
        self.bar = None


def say(trainer: pl.Trainer, text: str) -> None:
    """Shows another activity than training in the trainer's progress, if it has a Progress."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Progress):
            callback.say(text)


def lines_of(trainer: pl.Trainer, text: str) -> Callable[[str, int, int], None]:
    """For `evaluate(progress=...)` during training: lines on rank zero; none where a bar shows the evaluation."""
    lines = ProgressLines() if trainer.is_global_zero and not make_bar() else None
    return lambda stage, done, total: lines(f"{text}: {stage}", done, total) if lines else None


def make_bar() -> RichProgress | None:
    """A bar on stderr; None where stderr is not a terminal."""
    console = Console(stderr=True)
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        return None
    return RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[loss]}"),
        console=console,
        expand=True,
        refresh_per_second=1 / REFRESH_SECONDS,
    )


def speed_text(rate: float | None) -> str:
    return f"{rate:.{0 if rate >= 10 else 1}f} images/s" if rate is not None else ""


def loss_text(loss: float | None) -> str:
    return f"loss {loss:.4g}" if loss is not None else ""
