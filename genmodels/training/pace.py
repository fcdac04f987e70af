"""How many steps are taken before the callbacks are called again: up to the next step that one of them waits for, and
no longer than a moment, so that signals and the progress bar are served. What a step computes does not depend on it."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from pytorch_lightning import Callback, Trainer

MOMENT = 0.25  # seconds
MOST = 1000  # steps at once
EACH_STEP = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_before_zero_grad",
)  # hooks of Lightning for a step


class Periodic(Callback):
    """A callback that is called at least every `every_n_steps` steps, and perhaps more often.

    Any other callback with a hook for a step is called at each step, which costs small models half of their speed.
    """

    every_n_steps: int = MOST  # MOST: it waits for no step

    def next_due(self, step: int) -> int:
        """The next step after `step` that it waits for."""
        return step - step % self.every_n_steps + self.every_n_steps


def steps_until_due(callbacks: Iterable[Callback], step: int) -> int:
    """Steps until one of the callbacks waits to be called."""
    return min([MOST, *(_steps_until_due(callback, step) for callback in callbacks)])


def _steps_until_due(callback: Callback, step: int) -> int:
    if isinstance(callback, Periodic):
        return max(1, callback.next_due(step) - step)
    return 1 if follows_steps(callback) else MOST


def follows_steps(callback: Callback) -> bool:
    """Whether it is called at each step: it has a hook for that, and is not `Periodic`."""
    hooks = ((getattr(callback, name), getattr(Callback, name)) for name in EACH_STEP)
    has_one = any(getattr(own, "__func__", own) is not empty for own, empty in hooks)
    return has_one and not isinstance(callback, Periodic)


class Pace:
    """Chooses the number of steps; all processes choose the same."""

    def __init__(self) -> None:
        self.seconds: float | None = None  # of a step, lately; None: not known

    @contextmanager
    def measured(self, trainer: Trainer) -> Iterator[int]:
        """The number of steps to take in the block, whose time decides how many fit into a moment."""
        due = steps_until_due(trainer.callbacks, trainer.global_step)  # type: ignore[attr-defined]
        left = trainer.max_steps - trainer.global_step if trainer.max_steps >= 0 else MOST
        steps = agreed(max(1, min(due, left, int(MOMENT / self.seconds) if self.seconds else 1)), trainer)
        start = time.perf_counter()
        yield steps
        self.seconds = (time.perf_counter() - start) / steps


def agreed(steps: int, trainer: Trainer) -> int:
    """The fewest steps that any process wants to take: their callbacks and their speed may differ."""
    if trainer.world_size == 1:
        return steps
    return int(trainer.strategy.reduce(torch.tensor(steps, device=trainer.strategy.root_device), reduce_op="min"))
