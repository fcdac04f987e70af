"""Reproducing: the runs that are asked for, one after the other, cheapest first, as far as the time goes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from genmodels.report.ledger.book import Book
from genmodels.report.ledger.children import Children, Ended
from genmodels.report.ledger.collect import Found, Training, look, result_of
from genmodels.report.ledger.experiments import Experiment
from genmodels.report.ledger.measured import records_of
from genmodels.report.ledger.results import Result
from genmodels.report.metrics import is_of_samples, main_record
from genmodels.report.words import duration

Say = Callable[[str], None]
REFUSED = 2  # exit status of a command that found a person's mistake
OF_EVALUATE = ("data.root", "data.path", "data.test_path", "trusted")  # keys that evaluating a run takes too


@dataclass(frozen=True)
class Done:
    """What became of a training."""

    training: Training
    what: Literal["finished", "failed", "unfinished"]
    about: str  # the sentence of a failure, or how far it came

    def __str__(self) -> str:
        return f"seed {self.training.seed} {self.what}{': ' * bool(self.about)}{self.about}"


def trainings(experiments: Sequence[Experiment], seeds: Sequence[int], out: Path) -> list[Training]:
    """The first seed of all experiments, cheapest first, then the next seed."""
    by_cost = sorted(experiments, key=lambda experiment: (experiment.aim.minutes, experiment.name))
    return [
        Training(experiment, seed, out / experiment.name / f"seed_{seed}") for seed in seeds for experiment in by_cost
    ]


def begun(experiments: Sequence[Experiment], seeds: Sequence[int] | None, out: Path) -> list[Training]:
    """The trainings that a run lies there of, with these seeds or with any."""
    there = [
        Training(experiment, int(folder.name[5:]), folder)
        for experiment in experiments
        for folder in sorted((out / experiment.name).glob("seed_*"))
        if folder.name[5:].isdecimal()
    ]
    return [training for training in there if seeds is None or training.seed in seeds]


@dataclass(frozen=True, kw_only=True)
class Work:
    """Does trainings; what is finished lies in the book at once, so that it may end at any time."""

    book: Book
    children: Children
    overrides: Sequence[str]  # of every training: where and on what
    options: Sequence[str]  # likewise, such as --config-dir
    sample_seeds: Sequence[int]
    deadline: float  # a time of time.monotonic()
    trains: bool  # False: takes what is finished, and measures and trains nothing
    go_on: str  # the command that goes on where this one ends
    say: Say

    def do(self, trainings: Sequence[Training]) -> list[Done]:
        """All trainings, or as many as the time allows.

        Raises:
            Stopped: a signal asked it to end; the training under way has saved itself.
        """
        if self.trains:
            minutes = sum(training.experiment.aim.minutes for training in trainings)
            self.say(f"{len(trainings)} trainings, about {duration(60 * minutes)} on 2 CPU cores if none is there yet")
        with self.children.listening():
            return [
                self._one(training, f"[{number}/{len(trainings)}] {training}")
                for number, training in enumerate(trainings, 1)
            ]

    def _one(self, training: Training, title: str) -> Done:
        found = look(training)
        if found.trouble:
            return self._troubled(found, title)
        if found.finished:
            self.say(f"{title}: is finished, in {training.folder}")
            return self._measured(training)
        if not self.trains:
            return Done(training, "unfinished", "goes on without --collect")
        if self._out_of_time():
            return Done(training, "unfinished", "the time was over")
        self.say(f"{title}: {_outlook(found)}")
        return self._train(found)

    def _troubled(self, found: Found, title: str) -> Done:
        """Leaves a directory alone that holds something else; a finished run of another config is on the page."""
        self.say(f"{title}: {found.trouble}")
        if found.run and found.finished and found.run.seed == found.training.seed:
            self.book.add(result_of(found))
        return Done(found.training, "failed", str(found.trouble))

    def _train(self, found: Found) -> Done:
        training = found.training
        ended = self._run(self._train_words(found))
        found = look(training)
        return self._measured(training) if found.finished else self._not_finished(found, ended)

    def _train_words(self, found: Found) -> list[str]:
        """A resume takes the run's own config; the words say where and on what it goes on."""
        folder, experiment, seed = found.training.folder, found.training.experiment, found.training.seed
        begun = [f"experiment={experiment.name}", f"seed={seed}", f"hydra.run.dir={folder}"]
        return ["train", *([f"resume={folder}"] if found.run else begun), *self.overrides, *self.options]

    def _run(self, words: list[str]) -> Ended:
        ended = self.children.run(words, self.deadline)
        self._stop_if_asked()
        return ended

    def _stop_if_asked(self) -> None:
        self.children.stop_if_asked(f"ended; nothing is lost, go on with: {self.go_on}")

    def _out_of_time(self) -> bool:
        self._stop_if_asked()
        return time.monotonic() >= self.deadline

    def _not_finished(self, found: Found, ended: Ended) -> Done:
        """A training that the time was over for goes on at the next call; any other has failed.

        One that was refused before it began, such as for want of its data, says nothing of the experiment.
        """
        step = found.status.step
        if ended.out_of_time:
            return Done(found.training, "unfinished", f"the time was over at step {step}")
        if ended.status in (130, 143) or ended.status < 0:
            where = f"at step {step} (exit status {ended.status})"
            return Done(found.training, "failed", f"was ended from elsewhere {where}; it goes on at the next call")
        sentence = ended.sentence or found.trouble or f"ended with exit status {ended.status}"
        if ended.status != REFUSED:
            self.book.add(result_of(found, failed_with=sentence, exit_status=ended.status))
        return Done(found.training, "failed", sentence)

    def _measured(self, training: Training) -> Done:
        """Puts a finished run into the book, measured with each of the sample seeds where its metric is of samples."""
        result = self._enter(training)
        metric = training.experiment.aim.metric
        record = main_record(result.measured(), metric)
        if record is None:
            return Done(training, "failed", f"the run has no {metric} in its results.json")
        there = {record.protocol.get("seed") for record in records_of(result, metric)}
        lacks = self.trains and is_of_samples(record.protocol)
        lacking = [seed for seed in self.sample_seeds if seed not in there] if lacks else []
        return next(
            (done for seed in lacking if (done := self._sample(training, seed))), Done(training, "finished", "")
        )

    def _enter(self, training: Training) -> Result:
        """Puts a finished run into the book."""
        result = result_of(look(training))
        self.book.add(result)
        return result

    def _sample(self, training: Training, seed: int) -> Done | None:
        """Measures a run with another seed of its samples; None where that went well."""
        if self._out_of_time():
            return Done(training, "unfinished", f"the time was over before its samples were measured with seed {seed}")
        self.say(f"{training}: samples with seed {seed}")
        ended = self._run(["evaluate", f"run={training.folder}", f"seed={seed}", *self._evaluate_words()])
        if ended.status == 0:
            self._enter(training)
            return None
        what: Literal["unfinished", "failed"] = "unfinished" if ended.out_of_time else "failed"
        return Done(training, what, ended.sentence or f"evaluating it ended with exit status {ended.status}")

    def _evaluate_words(self) -> list[str]:
        return [*(word for word in self.overrides if word.lstrip("+").split("=")[0] in OF_EVALUATE), *self.options]


def _outlook(found: Found) -> str:
    experiment, step = found.training.experiment, found.status.step
    steps = experiment.config["trainer"]["max_steps"]
    left = duration(60 * experiment.aim.minutes * (1 - min(step / steps, 1)))
    how = f"goes on from step {step} of {steps}" if step else f"{steps} steps"
    return f"{how}, about {left} on 2 CPU cores, in {found.training.folder}"
