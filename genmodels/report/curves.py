"""Curves with no more points than can be seen."""

from collections.abc import Mapping

from genmodels.run.curves import Curve, Curves
from genmodels.run.run import Run

OF_PAGE = 250_000  # points
LEAST, MOST = 40, 400  # points of a curve, at least and at most


def thinned(curves: Mapping[Run, Curves]) -> dict[Run, Curves]:
    """The curves with as many points as a page has room for."""
    most = max(LEAST, min(MOST, OF_PAGE // max(1, sum(map(len, curves.values())))))
    return {run: {name: thin(points, most) for name, points in of_run.items()} for run, of_run in curves.items()}


def thin(points: Curve, most: int) -> Curve:
    """At most `most` of the points: both ends, and the lowest and highest of each stretch, so that peaks remain."""
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


def as_columns(points: Curve) -> dict[str, list[float]]:
    """The x and the y values, rounded to six digits."""
    return {axis: [float(f"{point[i]:.6g}") for point in points] for i, axis in enumerate("xy")}
