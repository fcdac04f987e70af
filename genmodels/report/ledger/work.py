"""Reproducing: the runs that are asked for, one after the other, cheapest first, as far as the time goes."""

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

REFUSED = 2  # exit status of a command that found a person's mistake
OF_EVALUATE = ("data.root", "data.path", "data.test_path", "trusted")  # keys that evaluating a run takes too


@dataclass(frozen=True)
class Done:
    """What became of an attempt."""

    attempt: Attempt
    what: Literal["finished", "failed", "unfinished"]
    about: str  # the sentence of a failure, or how far it came

    def __str__(self) -> str:
        return f"seed {self.attempt.seed} {self.what}{': ' * bool(self.about)}{self.about}"


class NotFinished(Exception):
    """Of an attempt: what became of it, and about that, as in `Done`."""


def attempts(experiments: Sequence[Experiment], seeds: Sequence[int], out: Path) -> list[Attempt]:
    """The first seed of all experiments, cheapest first, then the next seed."""
    by_cost = sorted(experiments, key=lambda experiment: (experiment.aim.minutes, experiment.name))
    return [Attempt(one, seed, out / one.name / f"seed_{seed}") for seed in seeds for one in by_cost]


def begun(experiments: Sequence[Experiment], seeds: Sequence[int] | None, out: Path) -> list[Attempt]:
    """The attempts that a run lies there of, with these seeds or with any."""
    there = [
        Attempt(experiment, int(folder.name[5:]), folder)
        for experiment in experiments
        for folder in sorted((out / experiment.name).glob("seed_*"))
        if folder.name[5:].isdecimal()
    ]
    return [attempt for attempt in there if seeds is None or attempt.seed in seeds]


@dataclass(frozen=True, kw_only=True)
class Work:
    """Trains and measures; what is finished lies in the book at once, so that it may end at any time."""

    book: Book
    children: Children
    overrides: Sequence[str]  # of every training: where and on what
    options: Sequence[str]  # likewise, such as --config-dir
    sample_seeds: Sequence[int]
    deadline: float  # a time of time.monotonic()
    trains: bool  # False: takes what is finished, and measures and trains nothing
    go_on: str  # the command that goes on where this one ends
    say: Callable[[str], None]

    def do(self, attempts: Sequence[Attempt]) -> list[Done]:
        """All attempts, or as many as the time allows.

        Raises:
            Stopped: a signal asked it to end; the training under way has saved itself.
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
        """Leaves a directory alone that holds something else; a finished run of another config is on the page."""
        if found.trouble:
            self.say(f"{title}: {found.trouble}")
            if found.run and found.finished and found.run.seed == found.attempt.seed:
                self.book.add(result_of(found))
            raise NotFinished("failed", found.trouble)
        if found.finished:
            self.say(f"{title}: is finished, in {found.attempt.folder}")
        elif not self.trains:
            raise NotFinished("unfinished", "goes on without --collect")
        else:
            self._require_time("the time was over")
            self.say(f"{title}: {_outlook(found)}")
            self._train(found)
        self._measure(found.attempt)

    def _train(self, begun: Found) -> None:
        """A resume takes the run's own config; the words say where and on what it goes on."""
        attempt = begun.attempt
        new = [f"experiment={attempt.experiment.name}", f"seed={attempt.seed}", f"hydra.run.dir={attempt.folder}"]
        words = [f"resume={attempt.folder}"] if begun.run else new
        ended = self._run(["train", *words, *self.overrides, *self.options])
        found = look(attempt)
        if not found.finished:
            self._not_finished(found, ended)

    def _not_finished(self, found: Found, ended: Ended) -> None:
        """A training that the time was over for goes on at the next call; any other has failed.

        One that was refused before it began, such as for want of its data, says nothing of the experiment.
        """
        step = f"at step {found.status.step}"
        if ended.out_of_time:
            raise NotFinished("unfinished", f"the time was over {step}")
        if ended.status in (130, 143) or ended.status < 0:
            raise NotFinished(
                "failed", f"was ended from elsewhere {step} (exit status {ended.status}); it goes on at the next call"
            )
        sentence = ended.sentence or found.trouble or f"ended with exit status {ended.status}"
        if ended.status != REFUSED:
            self.book.add(result_of(found, failed_with=sentence, exit_status=ended.status))
        raise NotFinished("failed", sentence)

    def _measure(self, attempt: Attempt) -> None:
        """Puts a finished run into the book, measured with each of the sample seeds where its metric is of samples."""
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
        """Measures a run with another seed of its samples."""
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
        self.children.stop_if_asked(f"ended; nothing is lost, go on with: {self.go_on}")


def _outlook(found: Found) -> str:
    experiment, step = found.attempt.experiment, found.status.step
    steps = experiment.config["trainer"]["max_steps"]
    left = duration(60 * experiment.aim.minutes * (1 - min(step / steps, 1)))
    how = f"goes on from step {step} of {steps}" if step else f"{steps} steps"
    return f"{how}, about {left} on 2 CPU cores, in {found.attempt.folder}"
