"""genmodels reproduce: runs the published baselines and writes the page that compares our results with the papers'."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from genmodels.cli.config_dir import config_dir
from genmodels.errors import Fault, UserError

USAGE = """genmodels reproduce: runs the published baselines and writes BASELINES.md: our results and the papers'

usage: genmodels reproduce [NAME ...] [key=value ...]
  genmodels reproduce                               # all, the cheapest first
  genmodels reproduce budget=60                     # for an hour; the same command continues later
  genmodels reproduce NAME seeds=[0,1,2]            # one experiment, three trainings
  genmodels reproduce NAME trainer=gpu              # keys of train for machine and paths, and no others
  genmodels reproduce --collect [NAME ...]          # trains nothing: takes the finished runs, writes the page
  genmodels reproduce --check                       # exit status 1 if the page and the result files differ

NAME is an experiment with a baseline, see genmodels list experiment and docs/BASELINES.md. An unfinished training is
continued, a finished one is used as it is. When the budget is over, or after Ctrl-C, the current training saves itself.
A training that fails does not stop the others.

  budget        minutes for all trainings; null: no limit                                     null
  seeds         of the trainings, one run each                                                [0]
  sample_seeds  of the samples that a metric such as FID is measured on, for each training    [0,1,2]
  out           folder of the runs: OUT/NAME/seed_S                                           outputs/reproduce
  docs          folder of BASELINES.md and of baselines/NAME/seed_S.json, the results         OUT; of --check: docs/
  --config-dir DIR   a folder of your own configs, with experiment/NAME.yaml\
"""
FLAGS = ("--check", "--collect")


@dataclass
class Arguments:
    """The arguments of the command line."""

    names: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    config_dir: Path | None = None
    budget: float | None = None  # minutes
    seeds: list[int] | None = None  # None: only seed 0; with --collect, all that exist
    sample_seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    out: Path = Path("outputs/reproduce")
    docs: Path | None = None  # None: `out`; with --check, docs/ of the checkout
    overrides: list[str] = field(default_factory=list)  # for the trainings


KEYS = ("budget", "seeds", "sample_seeds", "out", "docs")


def run(argv: list[str]) -> int:
    """Reproduces the named experiments, or checks the page; returns the exit status."""
    if {"-h", "--help"} & set(argv):
        print(USAGE)
        return 0
    asked = parse_arguments(argv)
    from genmodels.report.ledger.baselines import baselines
    from genmodels.report.ledger.book import Book

    experiments = baselines(asked.config_dir)
    if "--check" in asked.flags:
        return check_page(Book(asked.docs or default_docs(), experiments))
    return reproduce(asked, Book(asked.docs or asked.out, experiments), argv)


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """The words sorted by what they are."""
    folder, words = config_dir(argv)
    asked = Arguments(config_dir=folder)
    for word in words:
        key, equals, value = word.partition("=")
        if word in FLAGS:
            asked.flags.add(word)
        elif word.startswith("-"):
            raise UserError(f"there is no flag {word}; choices are {', '.join(FLAGS)}, --config-dir, --help")
        elif key in KEYS:
            setattr(asked, key, _value(key, value))
        elif equals:
            asked.overrides.append(_for_train(word, key))
        else:
            asked.names.append(word)
    if "--check" in asked.flags and (asked.names or asked.overrides or len(asked.flags) > 1):
        raise UserError("--check checks the whole page; give it alone, or with docs= and --config-dir")
    return asked


def _for_train(word: str, key: str) -> str:
    """The word itself; UserError where it looks like a misspelt key of reproduce."""
    if near := get_close_matches(key, KEYS, 1, cutoff=0.8):
        raise UserError(f"there is no key {key}; did you mean {near[0]}?")
    return word


def _value(key: str, text: str) -> Any:
    """The value of a key; UserError where it has a wrong type."""
    import yaml

    if key in ("out", "docs"):
        if not text:
            raise UserError(f"{key} is empty, expected a folder")
        return Path(text).expanduser()
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    if key == "budget":
        return _budget(text, value)
    if not (isinstance(value, list) and value and all(type(s) is int and s >= 0 for s in value)):
        raise UserError(f"{key} is {text or 'empty'}, expected a list of seeds, such as {key}=[0,1]")
    return list(dict.fromkeys(value))


def _budget(text: str, value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if text != "null" and not (is_number and 0 < value < 1e9):
        raise UserError(f"budget is {text or 'empty'}, expected minutes above 0, or null for no limit")
    return value


def default_docs() -> Path:
    """docs/ beside configs/ in a checkout; for an installed package, docs/ in the working directory."""
    from genmodels.config.shipped import CONFIGS

    checkout = CONFIGS.parent
    return checkout / "docs" if (checkout / "pyproject.toml").is_file() else Path("docs")


def check_page(book: Any) -> int:
    """Exit status 0 where page and result files agree; Fault where they do not."""
    count, wrong = book.check()
    if wrong:
        print("\n".join(wrong))
        raise Fault(
            f"{book.page} and the result files do not agree (above); write the page: genmodels reproduce --collect "
            f"docs={book.docs}"
        )
    print(f"{book.page} agrees with {len(book.experiments)} experiments and {count} result files")
    return 0


def reproduce(asked: Arguments, book: Any, argv: Sequence[str]) -> int:
    """Runs the unfinished trainings of the wanted experiments, and updates the results and the page."""
    from genmodels.console import console, show_paths
    from genmodels.report.ledger.baselines import require_same
    from genmodels.report.ledger.children import Children
    from genmodels.report.ledger.work import Work, attempts, begun

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    wanted = select_experiments(asked.names, book.experiments, asked.config_dir)
    require_same(wanted, asked.overrides, asked.config_dir)
    for bad in book.write_page():
        say(f"skipped: {bad.path} {bad.reason}")
    collects = "--collect" in asked.flags
    work = Work(
        book=book,
        children=Children(),
        overrides=asked.overrides,
        options=["--config-dir", str(asked.config_dir)] if asked.config_dir else [],
        sample_seeds=asked.sample_seeds,
        deadline=float("inf") if asked.budget is None else time.monotonic() + 60 * asked.budget,
        trains=not collects,
        go_on=shlex.join(["genmodels", "reproduce", *argv]),
        say=say,
    )
    todo = begun(wanted, asked.seeds, asked.out) if collects else attempts(wanted, asked.seeds or [0], asked.out)
    done = work.do(todo)
    if done:
        show_done(done, book, console)
    show_paths({"page": book.page, "results": book.docs / "baselines", "runs": asked.out})
    return int(any(one.what == "failed" for one in done))


def select_experiments(names: Sequence[str], experiments: Sequence[Any], config_dir: Path | None) -> list[Any]:
    """The experiments of these names; all without names.

    Raises:
        UserError: a name is of no experiment, or of one without a baseline.
    """
    from genmodels.config.messages import suggestion
    from genmodels.report.ledger import baselines

    known = {experiment.name: experiment for experiment in experiments}
    if not known:
        raise UserError("no experiment has a baseline; give one in experiment/NAME.yaml, or name a --config-dir")
    for name in names:
        if name not in known and name in baselines.names(config_dir):
            raise UserError(f"experiment {name} has no baseline, so it has no published number to reproduce")
        if name not in known:
            raise UserError(f"there is no experiment {name} with a baseline; {suggestion(name, list(known))}")
    return [known[name] for name in dict.fromkeys(names)] or list(experiments)


def show_done(done: Sequence[Any], book: Any, console: Any) -> None:
    """Prints a table of the wanted experiments: the paper's number, ours, and the outcome of the trainings."""
    from rich.markup import escape
    from rich.table import Table

    from genmodels.report.words import duration

    table = Table("experiment", "metric", "paper's", "ours", "verdict", "time", "runs", title="reproduced")
    table.title_justify = "left"
    rows = {row.experiment.name: row for row in book.comparisons()}
    for name in dict.fromkeys(one.attempt.experiment.name for one in done):
        row = rows[name]
        figures = [f"{row.experiment.aim.figure:g}", row.ours_in_words, row.verdict]
        runs = "; ".join(str(one) for one in done if one.attempt.experiment.name == name)
        cells = [name, row.experiment.aim.metric, *figures, duration(row.seconds) if row.ours else "", runs]
        table.add_row(*map(escape, cells))
    console.print(table)
