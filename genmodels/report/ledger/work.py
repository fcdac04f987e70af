"""Reproducing: the runs that are asked for, one after the other, cheapest first, as far as the time goes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from genmodels.report.ledger.book import Book
from genmodels.report.ledger.children import Children, Ended
from genmodels.report.ledger.collect import Found, failure, look, result_of
from genmodels.report.ledger.experiments import Experiment
from genmodels.report.ledger.measured import depends_on_samples, records_of
from genmodels.report.ledger.page import duration
from genmodels.report.ledger.results import Result
from genmodels.report.metrics import chosen

Say = Callable[[str], None]
REFUSED = 2  # exit status of a command that found a person's mistake
OF_EVALUATE = ("data.root", "data.path", "data.test_path", "trusted")  # keys that evaluating a run takes too


@dataclass(frozen=True)
class Job:
    """One training of an experiment."""

    experiment: Experiment
    seed: int
    folder: Path  # of the run

    def __str__(self) -> str:
        return f"{self.experiment.name} seed {self.seed}"


@dataclass(frozen=True)
class Done:
    """What became of a job."""

    job: Job
    what: Literal["finished", "failed", "unfinished"]
    about: str  # the sentence of a failure, or how far it came


def jobs(experiments: Sequence[Experiment], seeds: Sequence[int], out: Path) -> list[Job]:
    """The first seed of all experiments, cheapest first, then the next seed."""
    by_cost = sorted(experiments, key=lambda experiment: (experiment.minutes, experiment.name))
    return [Job(experiment, seed, out / experiment.name / f"seed_{seed}") for seed in seeds for experiment in by_cost]


def begun(experiments: Sequence[Experiment], seeds: Sequence[int] | None, out: Path) -> list[Job]:
    """The jobs that a run lies there of, with these seeds or with any."""
    there = [
        Job(experiment, int(folder.name[5:]), folder)
        for experiment in experiments
        for folder in sorted((out / experiment.name).glob("seed_*"))
        if folder.name[5:].isdecimal()
    ]
    return [job for job in there if seeds is None or job.seed in seeds]


class Work:
    """Does jobs; what is finished lies in the book at once, so that it may end at any time."""

    def __init__(
        self,
        *,
        book: Book,
        children: Children,
        overrides: Sequence[str],  # of every training: where and on what
        options: Sequence[str],  # likewise, such as --config-dir
        sample_seeds: Sequence[int],
        deadline: float,  # a time of time.monotonic()
        trains: bool,  # False: takes what is finished, and measures and trains nothing
        go_on: str,  # the command that goes on where this one ends
        say: Say,
    ):
        self.book = book
        self.children = children
        self.overrides = overrides
        self.options = options
        self.sample_seeds = sample_seeds
        self.deadline = deadline
        self.trains = trains
        self.go_on = go_on
        self.say = say

    def do(self, jobs: Sequence[Job]) -> list[Done]:
        """All jobs, or as many as the time allows.

        Raises:
            Stopped: a signal asked it to end; the training under way has saved itself.
        """
        if self.trains:
            minutes = sum(job.experiment.minutes for job in jobs)
            self.say(f"{len(jobs)} trainings, about {duration(60 * minutes)} on 2 CPU cores if none is there yet")
        with self.children.listening():
            return [self._one(job, f"[{number}/{len(jobs)}] {job}") for number, job in enumerate(jobs, 1)]

    def _one(self, job: Job, title: str) -> Done:
        found = look(job.folder, job.experiment, job.seed)
        if found.trouble:
            return self._troubled(job, found, title)
        if found.finished:
            self.say(f"{title}: is finished, in {job.folder}")
            return self._measured(job)
        if not self.trains:
            return Done(job, "unfinished", "goes on without --collect")
        if self._out_of_time():
            return Done(job, "unfinished", "the time was over")
        self.say(f"{title}: {_outlook(job, found)}")
        return self._train(job, found)

    def _troubled(self, job: Job, found: Found, title: str) -> Done:
        """Leaves a directory alone that holds something else; a finished run of another config is on the page."""
        self.say(f"{title}: {found.trouble}")
        if found.finished and found.run and found.run.seed == job.seed:
            self.book.add(result_of(found.run, job.experiment))
        return Done(job, "failed", str(found.trouble))

    def _train(self, job: Job, found: Found) -> Done:
        ended = self._run(self._train_words(job, found))
        found = look(job.folder, job.experiment, job.seed)
        return self._measured(job) if found.finished else self._not_finished(job, found, ended)

    def _train_words(self, job: Job, found: Found) -> list[str]:
        """A resume takes the run's own config; the words say where and on what it goes on."""
        if found.run is not None:
            return ["train", f"resume={job.folder}", *self.overrides, *self.options]
        asked = [f"experiment={job.experiment.name}", f"seed={job.seed}", f"hydra.run.dir={job.folder}"]
        return ["train", *asked, *self.overrides, *self.options]

    def _run(self, words: list[str]) -> Ended:
        ended = self.children.run(words, self.deadline)
        self.children.stop_if_asked(f"ended; nothing is lost, go on with: {self.go_on}")
        return ended

    def _out_of_time(self) -> bool:
        self.children.stop_if_asked(f"ended; nothing is lost, go on with: {self.go_on}")
        return time.monotonic() >= self.deadline

    def _not_finished(self, job: Job, found: Found, ended: Ended) -> Done:
        """A training that the time was over for goes on at the next call; any other has failed.

        One that was refused before it began, such as for want of its data, says nothing of the experiment.
        """
        step = found.run.status.step if found.run else 0
        if ended.out_of_time:
            return Done(job, "unfinished", f"the time was over at step {step}")
        if ended.status in (130, 143) or ended.status < 0:
            sentence = (
                f"was ended from elsewhere at step {step} (exit status {ended.status}); it goes on at the next call"
            )
            return Done(job, "failed", sentence)
        sentence = ended.sentence or found.trouble or f"ended with exit status {ended.status}"
        if ended.status != REFUSED:
            self.book.add(failure(job.experiment, job.seed, found.run, sentence, ended.status))
        return Done(job, "failed", sentence)

    def _measured(self, job: Job) -> Done:
        """Puts a finished run into the book, measured with each of the sample seeds where its metric is of samples."""
        result = self._enter(job)
        record = chosen(result.measured(), job.experiment.metric)
        if record is None:
            return Done(job, "failed", f"the run has no {job.experiment.metric} in its results.json")
        there = {record.protocol.get("seed") for record in records_of(result, job.experiment.metric)}
        lacks = self.trains and depends_on_samples(record)
        lacking = [seed for seed in self.sample_seeds if seed not in there] if lacks else []
        return next((done for seed in lacking if (done := self._sample(job, seed))), Done(job, "finished", ""))

    def _enter(self, job: Job) -> Result:
        run = look(job.folder, job.experiment, job.seed).run
        assert run is not None
        result = result_of(run, job.experiment)
        self.book.add(result)
        return result

    def _sample(self, job: Job, seed: int) -> Done | None:
        """Measures a run with another seed of its samples; None where that went well."""
        if self._out_of_time():
            return Done(job, "unfinished", f"the time was over before its samples were measured with seed {seed}")
        self.say(f"{job}: samples with seed {seed}")
        ended = self._run(["evaluate", f"run={job.folder}", f"seed={seed}", *self._evaluate_words()])
        if ended.status == 0:
            self._enter(job)
            return None
        what: Literal["unfinished", "failed"] = "unfinished" if ended.out_of_time else "failed"
        return Done(job, what, ended.sentence or f"evaluating it ended with exit status {ended.status}")

    def _evaluate_words(self) -> list[str]:
        return [*(word for word in self.overrides if word.lstrip("+").split("=")[0] in OF_EVALUATE), *self.options]


def _outlook(job: Job, found: Found) -> str:
    step = found.run.status.step if found.run else 0
    steps = job.experiment.config["trainer"]["max_steps"]
    left = duration(60 * job.experiment.minutes * (1 - min(step / steps, 1)))
    how = f"goes on from step {step} of {steps}" if step else f"{steps} steps"
    return f"{how}, about {left} on 2 CPU cores, in {job.folder}"
