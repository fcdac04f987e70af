"""docs/BASELINES.md, a pure function of experiment files and result files: the same ones give the same bytes."""

from collections import Counter
from collections.abc import Iterable, Sequence

from genmodels.report.gather import Skipped
from genmodels.report.ledger.comparisons import Comparison, comparisons
from genmodels.report.ledger.experiments import Experiment
from genmodels.report.ledger.results import Result
from genmodels.report.markdown import aligned, code, link, plain
from genmodels.report.metrics import without_chance
from genmodels.report.templates import rendered
from genmodels.report.words import brief, duration

VERDICTS = ("in", "out", "failed", "other config", "no result", "not run")  # as far as the colon
HEADINGS = ("#", "dataset", "system", "metric", "paper's", "tolerance", "ours", "n", "verdict", "time")


def ledger_page(experiments: Sequence[Experiment], results: Sequence[Result], damaged: Sequence[Skipped]) -> str:
    """The whole page."""
    rows = comparisons(experiments, results)
    names = {experiment.name for experiment in experiments}
    text = rendered(
        "BASELINES.md",
        {"plain": plain, "code": code, "brief": brief, "duration": duration, "without_chance": without_chance},
        link=link,
        sample_seeds=_sample_seeds,
        commands=_commands,
        ran=_ran,
        summary=_summary(rows),
        table=aligned(HEADINGS, [_cells(row, number) for number, row in enumerate(rows, 1)]),
        rows=rows,
        stale=[result for result in results if result.experiment not in names],
        damaged=damaged,
    )
    return text.rstrip("\n") + "\n"


def _summary(rows: Sequence[Comparison]) -> str:
    paper = Counter(row.verdict.partition(":")[0] for row in rows if row.experiment.aim.variant is None)
    counts = [f"{paper[verdict]} {verdict}" for verdict in VERDICTS if paper[verdict]]
    variants = [row.ours is not None for row in rows if row.experiment.aim.variant is not None]
    about = f"; {sum(variants)} of {len(variants)} variants ran" if variants else ""
    return f"{paper.total()} published numbers: {', '.join(counts) or 'none'}{about}."


def _cells(row: Comparison, number: int) -> list[str]:
    aim, verdict = row.experiment.aim, row.verdict
    is_paper = aim.variant is None
    return [
        str(number),
        plain(row.experiment.dataset),
        plain(aim.system) + ("" if is_paper else ", *variant*"),
        plain(aim.metric),
        f"{aim.figure:g}",
        "{:+g} / {:+g}".format(*aim.tolerance) if is_paper else "",
        row.ours_in_words,
        " x ".join(map(str, [len(row.records), *_sample_seeds(row)])) if row.records else "",
        f"**{verdict}**" if is_paper and row.records else verdict,
        duration(row.seconds) if row.records else "",
    ]


def _sample_seeds(row: Comparison) -> list[int]:
    """How many seeds of samples each training was measured with, the fewest; nothing for one."""
    fewest = min(map(len, row.records.values()))
    return [fewest] if fewest > 1 else []


def _commands(results: Sequence[Result]) -> str:
    commands = (result.command.replace(f" seed={result.seed}", " seed=S") for result in results)
    return _distinct(map(code, commands), "; ")


def _ran(results: Sequence[Result]) -> str:
    """When, how far, on what and by which versions."""
    facts = [
        _distinct(plain(result.date or "unknown date")[:10] for result in results),
        _distinct(f"{result.steps} steps, {result.images_seen} images" for result in results),
        _distinct(plain(result.hardware or "unknown hardware") for result in results),
        _distinct(plain(f"PyTorch {result.torch or 'unknown'}") for result in results),
        "commit " + _distinct(code(result.commit or "unknown") for result in results),
    ]
    killed = sum(result.killed for result in results)
    return "; ".join([*facts, *([f"{killed} starts were killed, whose time is not counted"] if killed else [])])


def _distinct(texts: Iterable[str], between: str = ", ") -> str:
    """Each of the texts once."""
    return between.join(dict.fromkeys(texts))
