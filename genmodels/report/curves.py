"""Curves with no more points than can be seen."""

from collections.abc import Mapping

from genmodels.run.curves import Curves, Points
from genmodels.run.run import Run

OF_PAGE = 250_000  # points
LEAST, MOST = 40, 400  # points of a curve


def thinned(curves: Mapping[Run, Curves]) -> dict[Run, Curves]:
    """With as many points of each as a page has room for."""
    most = points_of_each(sum(map(len, curves.values())))
    return {run: {name: thin(points, most) for name, points in of_run.items()} for run, of_run in curves.items()}


def points_of_each(n: int) -> int:
    """How many points each of n curves may have."""
    return max(LEAST, min(MOST, OF_PAGE // max(n, 1)))


def thin(points: Points, most: int) -> Points:
    """At most so many of the points: of each stretch the lowest and the highest, and both ends, so that peaks stay."""
    if len(points) <= most:
        return points
    stretches = max(1, (most - 2) // 2)
    inner = points[1:-1]
    bounds = [len(inner) * i // stretches for i in range(stretches + 1)]
    kept = [points[0]]
    for first, last in zip(bounds, bounds[1:], strict=False):
        stretch = inner[first:last]
        kept += sorted({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])})
    return [*kept, points[-1]]


def as_columns(points: Points) -> dict[str, list[float]]:
    """x and y, each to six digits."""
    return {"x": [_short(x) for x, _ in points], "y": [_short(y) for _, y in points]}


def _short(value: float) -> float:
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
