"""The ledger on the disk: result files and the page that is written from them, and whether the two agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from genmodels.disk.atomic import write_text
from genmodels.errors import Fault, UserError
from genmodels.report.ledger.comparisons import Comparison, comparisons
from genmodels.report.ledger.experiments import Experiment, deviations
from genmodels.report.ledger.page import ledger_page
from genmodels.report.ledger.results import FOLDER, Damaged, Result, file_of, read_all, read_result, write_result

PAGE = "BASELINES.md"
MOST_LINES = 20  # lines of a difference


@dataclass(frozen=True)
class Book:
    """DOCS/BASELINES.md and DOCS/baselines/, for these experiments."""

    docs: Path
    experiments: Sequence[Experiment]

    @property
    def page(self) -> Path:
        return self.docs / PAGE

    def write_page(self) -> list[Damaged]:
        """Writes the page anew; gives the result files that are not believed.

        Raises:
            UserError: the folder cannot be written.
        """
        found, damaged = read_all(self.docs)
        try:
            write_text(self.page, ledger_page(self.experiments, found, damaged))
        except OSError as error:
            raise self._not_writable(error) from error
        return damaged

    def comparisons(self) -> list[Comparison]:
        """The published numbers with what results there are."""
        return comparisons(self.experiments, read_all(self.docs)[0])

    def add(self, result: Result) -> Path:
        """Writes a result file and the page anew; what does not count never takes the place of a result that does."""
        file = file_of(self.docs, result.experiment, result.seed)
        if self._counts(result) or not self._counts_at(file):
            try:
                write_result(self.docs, result)
            except OSError as error:
                raise self._not_writable(error) from error
        self.write_page()
        return file

    def _counts_at(self, file: Path) -> bool:
        try:
            return self._counts(read_result(file))
        except UserError:
            return False

    def _counts(self, result: Result) -> bool:
        of = next(experiment for experiment in self.experiments if experiment.name == result.experiment)
        return result.status == "finished" and not deviations(result.config, of)

    def _not_writable(self, error: OSError) -> UserError:
        return UserError(f"docs={self.docs} cannot be written ({error.strerror}); give another folder: docs=DIR")

    def check(self) -> tuple[int, list[str]]:
        """The number of result files, and what does not agree; the page's difference is cut short.

        Raises:
            Fault: the page is not there.
        """
        found, damaged = read_all(self.docs)
        wrong = [f"{self.docs / FOLDER / bad.name} {bad.reason}" for bad in damaged]
        if not self.page.is_file():
            raise Fault(f"{self.page} is not there; write it: genmodels reproduce --collect docs={self.docs}")
        there = self.page.read_text(encoding="utf-8", errors="replace").splitlines()
        due = ledger_page(self.experiments, found, damaged).splitlines()
        names = (str(self.page), "what experiments and results give")
        lines = [line.rstrip("\n") for line in unified_diff(there, due, *names, n=0, lineterm="")]
        more = [f"... {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
        return len(found), wrong + lines[:MOST_LINES] + more
