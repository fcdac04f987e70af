"""docs/BASELINES.md, a pure function of experiment files and result files: the same ones give the same bytes."""

from collections import Counter
from collections.abc import Sequence

from genmodels.report.gather import Skipped
from genmodels.report.ledger.comparisons import Comparison, comparisons
from genmodels.report.ledger.experiments import Experiment
from genmodels.report.ledger.results import Result
from genmodels.report.templates import rendered

VERDICTS = ("in", "out", "failed", "other config", "no result", "not run")  # as far as the colon


def ledger_page(experiments: Sequence[Experiment], results: Sequence[Result], damaged: Sequence[Skipped]) -> str:
    """The whole page."""
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
