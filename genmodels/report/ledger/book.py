"""The ledger on the disk: result files, the page that is written from them, and whether the two agree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from genmodels.disk.atomic import write_text
from genmodels.errors import Fault, UserError
from genmodels.report.gather import Skipped
from genmodels.report.ledger.comparisons import Comparison, comparisons
from genmodels.report.ledger.experiments import Experiment, deviations
from genmodels.report.ledger.results import FOLDER, Result, read_all
from genmodels.report.templates import rendered

PAGE = "BASELINES.md"
VERDICTS = ("in", "out", "failed", "other config", "no result", "not run")  # the part before the colon
MOST_LINES = 20  # lines of a difference


@dataclass(frozen=True)
class Book:
    """DOCS/BASELINES.md and DOCS/baselines/, for these experiments."""

    docs: Path
    experiments: Sequence[Experiment]

    @property
    def page(self) -> Path:
        return self.docs / PAGE

    def comparisons(self) -> list[Comparison]:
        """The published numbers with our results."""
        return comparisons(self.experiments, read_all(self.docs)[0])

    def write_page(self) -> list[Skipped]:
        """Writes the page; returns the invalid result files.

        Raises:
            UserError: the folder cannot be written.
        """
        found, damaged = read_all(self.docs)
        self._write(self.page, ledger_page(self.experiments, found, damaged))
        return damaged

    def add(self, result: Result) -> Path:
        """Writes a result file and the page; a result that does not count never replaces one that does."""
        file = self.docs / FOLDER / result.experiment / f"seed_{result.seed}.json"
        there = (one for one in read_all(self.docs)[0] if one.is_of(result))
        if self._counts(result) or not any(map(self._counts, there)):
            self._write(file, str(result))
        self.write_page()
        return file

    def _counts(self, result: Result) -> bool:
        of = next(experiment for experiment in self.experiments if experiment.name == result.experiment)
        return result.status == "finished" and not deviations(result.config, of)

    def _write(self, file: Path, text: str) -> None:
        try:
            write_text(file, text)
        except OSError as error:
            raise UserError(
                f"docs={self.docs} cannot be written ({error.strerror}); give another folder: docs=DIR"
            ) from error

    def check(self) -> tuple[int, list[str]]:
        """The number of result files, and what does not agree; of the page only the first different lines.

        Raises:
            Fault: the page does not exist.
        """
        found, damaged = read_all(self.docs)
        wrong = [f"{self.docs / FOLDER / bad.path} {bad.reason}" for bad in damaged]
        if not self.page.is_file():
            raise Fault(f"{self.page} does not exist; write it: genmodels reproduce --collect docs={self.docs}")
        there = self.page.read_text(encoding="utf-8", errors="replace").splitlines()
        due = ledger_page(self.experiments, found, damaged).splitlines()
        names = (str(self.page), "what experiments and results give")
        lines = [line.rstrip("\n") for line in unified_diff(there, due, *names, n=0, lineterm="")]
        more = [f"... {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
        return len(found), wrong + lines[:MOST_LINES] + more


def ledger_page(experiments: Sequence[Experiment], results: Sequence[Result], damaged: Sequence[Skipped]) -> str:
    """The page, a pure function of experiment files and result files: the same files give the same bytes."""
    rows = comparisons(experiments, results)
    names = {experiment.name for experiment in experiments}
    stale = [result for result in results if result.experiment not in names]
    text = rendered("BASELINES.md", rows=rows, summary=_summary(rows), stale=stale, damaged=damaged)
    return text.rstrip("\n") + "\n"


def _summary(rows: Sequence[Comparison]) -> str:
    paper = Counter(row.verdict.partition(":")[0] for row in rows if row.experiment.aim.variant is None)
    counts = [f"{paper[verdict]} {verdict}" for verdict in VERDICTS if paper[verdict]]
    variants = [row.ours is not None for row in rows if row.experiment.aim.variant is not None]
    about = f"; {sum(variants)} of {len(variants)} variants ran" if variants else ""
    return f"{paper.total()} published numbers: {', '.join(counts) or 'none'}{about}."
