"""Curves with no more points than can be seen."""

Points = list[tuple[float, float]]

IN_ALL = 250_000  # points of a page
LEAST, MOST = 40, 400  # points of a curve


def points_of_each(n: int) -> int:
    """How many points each of n curves may have."""
    return max(LEAST, min(MOST, IN_ALL // max(n, 1)))


def thinned(points: Points, most: int) -> Points:
    """At most so many of the points: of each stretch the lowest and the highest, and both ends, so that peaks stay."""
    if len(points) <= most:
        return points
    stretches = max(1, (most - 2) // 2)
    inner = points[1:-1]
    bounds = [len(inner) * i // stretches for i in range(stretches + 1)]
    kept = [points[0]]
    for first, last in zip(bounds, bounds[1:], strict=False):
        stretch = inner[first:last]
        ends = {min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])}
        kept += sorted(ends)
    return [*kept, points[-1]]


def as_columns(points: Points) -> dict[str, list[float]]:
    """x and y, each to six digits."""
    return {"x": _short([x for x, _ in points]), "y": _short([y for _, y in points])}


def _short(values: list[float]) -> list[float]:
    rounded = (float(f"{x:.6g}") for x in values)
    return [int(x) if x.is_integer() and abs(x) < 1e15 else x for x in rounded]
