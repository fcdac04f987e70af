"""What a person reads at the end: a line for each experiment that was asked for."""

from collections.abc import Iterator, Sequence

from genmodels.report.ledger import results
from genmodels.report.ledger.book import Book
from genmodels.report.ledger.page import amount, duration, mean_seconds
from genmodels.report.ledger.rows import Row, rows
from genmodels.report.ledger.work import Done

HEAD = ("experiment", "metric", "paper's", "ours", "verdict", "time", "runs")


def lines(done: Sequence[Done], book: Book) -> Iterator[tuple[str, ...]]:
    """The cells of the lines, in the order of the work."""
    found, _ = results.read_all(book.docs)
    by_name = {row.experiment.name: row for row in rows(book.experiments, found)}
    for name in dict.fromkeys(one.job.experiment.name for one in done):
        yield _line(by_name[name], [one for one in done if one.job.experiment.name == name])


def _line(row: Row, done: Sequence[Done]) -> tuple[str, ...]:
    ours = row.ours
    return (
        row.experiment.name,
        row.experiment.metric,
        f"{row.experiment.figure:g}",
        "" if ours is None else amount(ours),
        row.verdict,
        "" if ours is None else duration(mean_seconds(row.counted)),
        "; ".join(f"seed {one.job.seed} {one.what}{': ' * bool(one.about)}{one.about}" for one in done),
    )
