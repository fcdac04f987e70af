"""The page: one HTML file with everything in it, that opens from a disk and asks no network for anything."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from genmodels.report.columns import Column
from genmodels.report.contents import Contents
from genmodels.report.payload import payload
from genmodels.report.rows import group_rows, rows
from genmodels.report.words import mean_and_spread, number, plural, shown
from genmodels.run.status import State

ASSETS = Path(__file__).parent / "assets"
STATUSES: tuple[State, ...] = ("finished", "failed", "pruned", "interrupted", "unfinished")
MISSING = {  # what a figure wants, where there are no data for it
    "trilemma": "quality, diversity and speed need two runs on one dataset with each of these: "
    "evaluator=[fid,density_coverage,precision_recall,speed]",
    "likelihood": "likelihood against quality needs two runs on one dataset with both: evaluator=[likelihood,fid]",
    "calls": "quality against network calls needs a run that was evaluated with several sampler.steps: "
    "genmodels evaluate run=RUN_DIR evaluator=[fid] sampler=ddim sampler.steps=10",
}


def page(contents: Contents) -> str:
    """The HTML. All that comes from runs is escaped: in the markup by the template, in the data as JSON."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "mean_and_spread": mean_and_spread, "heading": heading}
    asset = {name: Markup((ASSETS / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js")}
    return environment.get_template("page.html").render(
        style=asset["page.css"], script=asset["page.js"], plotly=Markup(get_plotlyjs()), **_shown(contents)
    )


def heading(column: Column) -> str:
    """A metric as it stands above its column, with places where a line may end."""
    return shown(column.metric).replace("/", "/\u200b").replace("_", "_\u200b")


def _shown(contents: Contents) -> dict[str, Any]:
    counted = Counter(run.status.state for run in contents.runs)
    table, over_seeds = rows(contents), group_rows(contents)
    return {
        "contents": contents,
        "rows": table,
        "groups": over_seeds,
        "data": payload(contents),
        "title": plural(len(contents.runs), "run"),
        "statuses": [(status, counted[status]) for status in STATUSES if counted[status]],
        "without_results": sum(not run.results for run in contents.runs),
        "datasets": sorted({run.dataset for run in contents.runs}),
        "differ": any(row.differs for row in table) or any(row.differs for row in over_seeds),
        "families": sorted({run.family for run in contents.runs}),
        "missing": [text for figure, text in MISSING.items() if not contents.figures[figure]],
        "made": datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
    }
