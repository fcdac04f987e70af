"""Trains and measures the requested experiments one after the other, cheapest first, until the time is over."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from genmodels.report.ledger.book import Book
from genmodels.report.ledger.children import Children, Ended
from genmodels.report.ledger.collect import Attempt, Found, look, result_of
from genmodels.report.ledger.comparisons import records_of
from genmodels.report.ledger.experiments import Experiment
from genmodels.report.metrics import is_of_samples
from genmodels.report.words import duration

REFUSED = 2  # exit status of a command that the user gave wrongly
OF_EVALUATE = ("data.root", "data.path", "data.test_path", "trusted")  # keys that `evaluate` takes, too


@dataclass(frozen=True)
class Done:
    """The outcome of an attempt."""

    attempt: Attempt
    what: Literal["finished", "failed", "unfinished"]
    about: str  # the sentence of a failure, or how far the training came

    def __str__(self) -> str:
        return f"seed {self.attempt.seed} {self.what}{': ' * bool(self.about)}{self.about}"


class NotFinished(Exception):
    """An attempt did not finish; the arguments are `what` and `about` of `Done`."""


def attempts(experiments: Sequence[Experiment], seeds: Sequence[int], out: Path) -> list[Attempt]:
    """The first seed of all experiments, cheapest first, then the next seed."""
    by_cost = sorted(experiments, key=lambda experiment: (experiment.aim.minutes, experiment.name))
    return [Attempt(one, seed, out / one.name / f"seed_{seed}") for seed in seeds for one in by_cost]


def begun(experiments: Sequence[Experiment], seeds: Sequence[int] | None, out: Path) -> list[Attempt]:
    """The attempts whose folders exist, with these seeds or with any."""
    there = [
        Attempt(experiment, int(folder.name[5:]), folder)
        for experiment in experiments
        for folder in sorted((out / experiment.name).glob("seed_*"))
        if folder.name[5:].isdecimal()
    ]
    return [attempt for attempt in there if seeds is None or attempt.seed in seeds]


@dataclass(frozen=True, kw_only=True)
class Work:
    """Trains and measures. Each result is in the book at once, so the work may be ended at any time."""

    book: Book
    children: Children
    overrides: Sequence[str]  # of every training: paths and machine
    options: Sequence[str]  # flags of every training, such as --config-dir
    sample_seeds: Sequence[int]
    deadline: float  # a time of time.monotonic()
    trains: bool  # False: only collects finished runs
    go_on: str  # the command that continues
    say: Callable[[str], None]

    def do(self, attempts: Sequence[Attempt]) -> list[Done]:
        """Makes all attempts, or as many as the time allows.

        Raises:
            Stopped: a signal was received; the current training has saved itself.
        """
        if self.trains:
            minutes = sum(attempt.experiment.aim.minutes for attempt in attempts)
            self.say(f"{len(attempts)} trainings, about {duration(60 * minutes)} on 2 CPU cores if none is there yet")
        with self.children.listening():
            return [self._one(attempt, f"[{n}/{len(attempts)}] {attempt}") for n, attempt in enumerate(attempts, 1)]

    def _one(self, attempt: Attempt, title: str) -> Done:
        try:
            self._reproduce(look(attempt), title)
        except NotFinished as ended:
            return Done(attempt, *ended.args)
        return Done(attempt, "finished", "")

    def _reproduce(self, found: Found, title: str) -> None:
        """Trains and measures; leaves a directory with something else alone. Adds a finished run of another config."""
        if found.trouble:
            self.say(f"{title}: {found.trouble}")
            if found.run and found.finished and found.run.seed == found.attempt.seed:
                self.book.add(result_of(found))
            raise NotFinished("failed", found.trouble)
        if found.finished:
            self.say(f"{title}: is finished, in {found.attempt.folder}")
        elif not self.trains:
            raise NotFinished("unfinished", "continues without --collect")
        else:
            self._require_time("the time was over")
            self.say(f"{title}: {_outlook(found)}")
            self._train(found)
        self._measure(found.attempt)

    def _train(self, begun: Found) -> None:
        """Starts or resumes a training; a resume takes the run's own config, and overrides for paths and machine."""
        attempt = begun.attempt
        new = [f"experiment={attempt.experiment.name}", f"seed={attempt.seed}", f"hydra.run.dir={attempt.folder}"]
        words = [f"resume={attempt.folder}"] if begun.run else new
        ended = self._run(["train", *words, *self.overrides, *self.options])
        found = look(attempt)
        if not found.finished:
            self._not_finished(found, ended)

    def _not_finished(self, found: Found, ended: Ended) -> None:
        """Raises NotFinished: unfinished if the time was over, so that the next call continues; otherwise failed.

        A training that was refused before its start, for example since its data are missing, gives no result.
        """
        step = f"at step {found.status.step}"
        if ended.out_of_time:
            raise NotFinished("unfinished", f"the time was over {step}")
        if ended.status in (130, 143) or ended.status < 0:
            raise NotFinished(
                "failed", f"was ended by a signal {step} (exit status {ended.status}); the next call continues it"
            )
        sentence = ended.sentence or found.trouble or f"ended with exit status {ended.status}"
        if ended.status != REFUSED:
            self.book.add(result_of(found, failed_with=sentence, exit_status=ended.status))
        raise NotFinished("failed", sentence)

    def _measure(self, attempt: Attempt) -> None:
        """Adds a finished run to the book; measures it with each sample seed if its metric is of samples."""
        result = result_of(look(attempt))
        self.book.add(result)
        records = records_of(result, attempt.experiment.aim.metric)
        if not records:
            raise NotFinished("failed", f"the run has no {attempt.experiment.aim.metric} in its results.json")
        if self.trains and is_of_samples(records[0].protocol):
            there = {record.protocol.get("seed") for record in records}
            for seed in (seed for seed in self.sample_seeds if seed not in there):
                self._sample(attempt, seed)

    def _sample(self, attempt: Attempt, seed: int) -> None:
        """Measures a run with another sample seed."""
        self._require_time(f"the time was over before its samples were measured with seed {seed}")
        self.say(f"{attempt}: samples with seed {seed}")
        own = [word for word in self.overrides if word.lstrip("+").split("=")[0] in OF_EVALUATE]
        ended = self._run(["evaluate", f"run={attempt.folder}", f"seed={seed}", *own, *self.options])
        if ended.status:
            sentence = ended.sentence or f"evaluating it ended with exit status {ended.status}"
            raise NotFinished("unfinished" if ended.out_of_time else "failed", sentence)
        self.book.add(result_of(look(attempt)))

    def _run(self, words: list[str]) -> Ended:
        ended = self.children.run(words, self.deadline)
        self._stop_if_asked()
        return ended

    def _require_time(self, sentence: str) -> None:
        self._stop_if_asked()
        if time.monotonic() >= self.deadline:
            raise NotFinished("unfinished", sentence)

    def _stop_if_asked(self) -> None:
        self.children.stop_if_asked(f"ended; nothing is lost, continue with: {self.go_on}")


def _outlook(found: Found) -> str:
    experiment, step = found.attempt.experiment, found.status.step
    steps = experiment.config["trainer"]["max_steps"]
    left = duration(60 * experiment.aim.minutes * (1 - min(step / steps, 1)))
    how = f"continues from step {step} of {steps}" if step else f"{steps} steps"
    return f"{how}, about {left} on 2 CPU cores, in {found.attempt.folder}"
