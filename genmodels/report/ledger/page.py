"""docs/BASELINES.md, a pure function of experiment files and result files: the same ones give the same bytes."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from genmodels.report.ledger.experiments import Experiment
from genmodels.report.ledger.markdown import code, link, table, text
from genmodels.report.ledger.measured import Ours
from genmodels.report.ledger.results import Damaged, Result
from genmodels.report.ledger.rows import Row, rows, without_experiment

NAME = "BASELINES.md"
HEAD = """# Published numbers, and ours

Each row is a number that a paper reports, laid beside what a training of genmodels gave under the same protocol. This
page is written by `genmodels reproduce` from the result files in `baselines/` and the experiment files; who edits it by
hand makes `genmodels reproduce --check` fail.

```bash
genmodels reproduce NAME                 # trains an experiment of this page, seed 0, and writes a page beside it
genmodels reproduce NAME docs=docs       # writes its result into this page
genmodels reproduce budget=60            # what is cheapest first, for an hour; the same command goes on where it was
genmodels reproduce NAME seeds=[0,1,2]   # mean and spread over three trainings
genmodels reproduce --check              # whether this page is what experiments and results give
```

**in**: our mean lies within the tolerance around the paper's number; **out** says by how much it lies above (+) or
below (-). A **variant** is shorter or smaller than the paper's training: it has a row of its own, with its distance to
the paper's number and no verdict, and never fills the paper's row. **other config**: there is a result, of a training
that was not the experiment as it stands today. ± is the standard deviation (n - 1) over trainings, or over the seeds of
the samples where there is one training; n: trainings, x seeds of the samples of each. Times are of one training with
its evaluation.
"""
COLUMNS = ("#", "dataset", "system", "metric", "paper's", "tolerance", "ours", "n", "verdict", "time")


def page(experiments: Sequence[Experiment], results: Sequence[Result], damaged: Sequence[Damaged]) -> str:
    """The whole page."""
    found = rows(experiments, results)
    numbered = list(enumerate(found, 1))
    lines = [HEAD, _summary(found), "", *table(COLUMNS, [_cells(row, number) for number, row in numbered]), ""]
    for dataset, of_dataset in groupby(numbered, key=lambda pair: pair[1].experiment.dataset):
        lines += [f"## {text(dataset)}", ""]
        for number, row in of_dataset:
            lines += [*_note(row, number), ""]
    lines += _left_out(without_experiment(experiments, results), damaged)
    return "\n".join(lines).rstrip("\n") + "\n"


def _summary(found: Sequence[Row]) -> str:
    paper = [row.verdict.partition(":")[0] for row in found if row.experiment.variant is None]
    words = ("in", "out", "failed", "other config", "no result", "not run")
    counts = [f"{paper.count(word)} {word}" for word in words if paper.count(word)]
    variants = [row for row in found if row.experiment.variant is not None]
    ran = sum(row.ours is not None for row in variants)
    about = f"; {ran} of {len(variants)} variants ran" if variants else ""
    return f"{len(paper)} published numbers: {', '.join(counts) or 'none'}{about}."


def _cells(row: Row, number: int) -> list[str]:
    experiment, found, verdict = row.experiment, row.ours, row.verdict
    low, high = experiment.tolerance
    is_paper = experiment.variant is None
    return [
        str(number),
        text(experiment.dataset),
        text(experiment.system) + ("" if is_paper else ", *variant*"),
        text(experiment.metric),
        f"{experiment.figure:g}",
        f"{low:+g} / {high:+g}" if is_paper else "",
        "" if found is None else amount(found),
        "" if found is None else _n(found),
        f"**{verdict}**" if is_paper and found is not None else verdict,
        "" if found is None else duration(mean_seconds(row.counted)),
    ]


def _n(found: Ours) -> str:
    return str(len(found.seeds)) if found.sample_seeds < 2 else f"{len(found.seeds)} x {found.sample_seeds}"


def amount(found: Ours) -> str:
    """Mean and spread, such as "86.91 ± 0.04"."""
    return f"{found.mean:.3f}" + ("" if found.spread is None else f" ± {found.spread:.3f}")


def duration(seconds: float | None) -> str:
    """In the largest unit that leaves a number above 1."""
    if seconds is None:
        return "unknown"
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def mean_seconds(results: Sequence[Result]) -> float | None:
    known = [result.seconds for result in results if result.seconds is not None]
    return sum(known) / len(known) if known else None


def _distinct(values: Any) -> str:
    return ", ".join(dict.fromkeys(text(value) for value in values))


def _note(row: Row, number: int) -> Iterator[str]:
    """What there is to say of a row beyond its numbers, as a list."""
    experiment, found = row.experiment, row.ours
    name = code(experiment.name) if row.there_is_a_file else "no experiment file yet"
    yield f"{number}. {text(experiment.system)}: {name}"
    if experiment.variant is None:
        paper = link(experiment.paper, experiment.link)
        yield f"   - paper: {paper}, {text(experiment.source)}; {text(experiment.protocol)}"
    else:
        yield f"   - variant: {text(experiment.variant)}"
    if found is not None:
        yield from _facts(row, found)
    elif row.there_is_a_file:
        yield f"   - to be run: {code(f'genmodels reproduce {experiment.name}')}, about {_estimate(experiment)}"
    for result, why in row.others:
        yield f"   - seed {result.seed} does not count: {text(why)}"


def _facts(row: Row, found: Ours) -> Iterator[str]:
    results = row.counted
    seeds = f"seed{'s' * (len(found.seeds) > 1)} {', '.join(map(str, found.seeds))}"
    samples = "" if found.sample_seeds < 2 else f", {found.sample_seeds} seeds of samples each"
    error = "" if found.uncertainty is None else f"; standard error {found.uncertainty:.3f} over the test samples"
    yield f"   - ours: {amount(found)}, {seeds}{samples}{error}"
    yield f"   - protocol: {text(_words(found.protocol))}"
    yield f"   - command: {'; '.join(dict.fromkeys(code(_any_seed(result)) for result in results))}"
    dates = _distinct(str(result.date or "unknown date")[:10] for result in results)
    images = _distinct(f"{result.steps} steps, {result.images_seen} images" for result in results)
    hardware = _distinct(result.hardware or "unknown hardware" for result in results)
    versions = _distinct(f"PyTorch {result.torch or 'unknown'}" for result in results)
    commits = ", ".join(dict.fromkeys(code(result.commit or "unknown") for result in results))
    killed = sum(result.killed for result in results)
    lost = f"; {killed} starts were killed, whose time is not counted" if killed else ""
    yield f"   - ran: {dates}; {images}; {hardware}; {versions}; commit {commits}{lost}"


def _any_seed(result: Result) -> str:
    return result.command.replace(f" seed={result.seed}", " seed=S")


def _words(protocol: Mapping[str, Any]) -> str:
    """A protocol on one line, without what is null; of a hash the beginning."""
    return ", ".join(f"{key} {_short(value)}" for key, value in protocol.items() if value is not None)


def _short(value: Any) -> str:
    said = str(value)
    return said[:12] if len(said) >= 32 and " " not in said and "/" not in said else said


def _estimate(experiment: Experiment) -> str:
    return duration(60 * experiment.minutes) + " on 2 CPU cores"


def _left_out(stale: Sequence[Result], damaged: Sequence[Damaged]) -> Iterator[str]:
    """The result files that stand in no row."""
    if stale:
        yield from (f"## Results of experiments that there are no longer: {len(stale)}", "")
        yield from (f"- {code(f'{result.experiment}/seed_{result.seed}.json')}" for result in stale)
        yield ""
    if damaged:
        yield from (f"## Result files that are not believed: {len(damaged)}", "")
        yield from (f"- {code(bad.name)} {text(bad.reason)}" for bad in damaged)
