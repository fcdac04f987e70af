"""Our numbers beside the paper's that their experiment aims at, as its config tells it.

No verdict: whether a run kept its experiment's settings is for the ledger to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genmodels.report.seeds import Group, Spread
from genmodels.run.run import Run


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What a config's `baseline` says."""

    system: str
    paper: str
    link: str | None  # of the web, None for anything else
    metric: str
    figure: float
    source: str
    protocol: str
    below: float  # how far ours may lie from the figure, <= 0
    above: float  # likewise, >= 0
    variant: str | None


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A group of runs, its aim, and what it reached."""

    group: Group
    aim: Aim
    ours: Spread | None

    @property
    def difference(self) -> float | None:
        """Ours less the paper's."""
        return None if self.ours is None else self.ours.mean - self.aim.figure


def aim_of(run: Run) -> Aim | None:
    """The aim of a run; None where its config has none, or one that cannot be read."""
    node: Any = run.config.get("baseline")
    try:
        below, above = map(float, node["tolerance"])
        texts = {key: str(node[key]) for key in ("system", "paper", "metric", "source", "protocol")}
        variant = None if node["variant"] is None else str(node["variant"])
        figure, link = float(node["figure"]), _web(node["link"])
    except (TypeError, KeyError, ValueError):
        return None
    return Aim(**texts, link=link, figure=figure, below=below, above=above, variant=variant)


def _web(link: Any) -> str | None:
    return link if isinstance(link, str) and link.startswith(("https://", "http://")) else None


def beside_papers(groups: Sequence[Group]) -> list[Beside]:
    """The groups that aim at a published number."""
    aims = [(group, aim_of(group.runs[0])) for group in groups]
    return [Beside(group=group, aim=aim, ours=group.spread(aim.metric)) for group, aim in aims if aim is not None]
