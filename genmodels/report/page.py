"""The page: one HTML file with everything in it, that opens from a disk and asks no network for anything."""

from collections import Counter
from datetime import datetime
from typing import get_args

from genmodels.report.contents import Contents
from genmodels.report.metrics import canonical, compared
from genmodels.report.payload import in_full, payload
from genmodels.report.templates import ASSETS, rendered
from genmodels.report.words import duration, four_digits, heading, in_short, is_web, plural
from genmodels.run.status import State


def web_page(contents: Contents) -> str:
    """The HTML. All that comes from runs is escaped: in the markup by the template, in the data as JSON."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    asset = {name: Markup((ASSETS / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js")}
    filters = {
        "number": four_digits,
        "heading": heading,
        "duration": duration,
        "in_full": in_full,
        "in_short": in_short,
        "is_web": is_web,
        "against": lambda protocol: canonical(compared(protocol)),  # the same for all that may be laid beside
    }
    counted = Counter(run.status.state for run in contents.runs)
    return rendered(
        "page.html",
        filters,
        contents=contents,
        data=payload(contents),
        title=plural(len(contents.runs), "run"),
        statuses={state: counted[state] for state in get_args(State) if counted[state]},
        datasets=sorted({run.dataset for run in contents.runs}),
        families=sorted({run.family for run in contents.runs}),
        differ=any(contents.words(row) for row in (*contents.entries, *contents.over_seeds)),
        several=[row for row in contents.over_seeds if len(row.group.seeds) > 1],
        made=datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        style=asset["page.css"],
        script=asset["page.js"],
        plotly=Markup(get_plotlyjs()),
    )
