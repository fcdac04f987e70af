"""All pairs of two sets of features, tile by tile: the n x m matrix is never in memory.

A tile is computed in float64. Distances are then rounded to float32, so that equal distances
stay equal for any order of summation.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from genmodels.errors import UserError
from genmodels.evaluators.results import Progress, silent

TILE_ROWS, TILE_COLUMNS = 1024, 4096  # of a tile
DISTANCE_ROUNDING = 1e-12  # a squared distance below this fraction of the squared norms is rounding error


def blocks(n: int, size: int) -> list[slice]:
    """0..n-1 in slices of `size`, the last of which may be smaller."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def euclidean(x: Float64[Tensor, "n d"], y: Float64[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """|x - y| of every pair, float32; exactly zero for equal rows."""
    norms = x.square().sum(1)[:, None] + y.square().sum(1)
    square = norms - 2 * x @ y.T
    return square.where(square > DISTANCE_ROUNDING * norms, 0).sqrt().float()


def distances(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], device: torch.device, progress: Progress = silent
) -> Iterator[tuple[slice, Float[Tensor, "b m"]]]:
    """Blocks of rows of `x`, and their distances to all of `y`, float32 on `device`."""
    rows, columns = blocks(len(x), TILE_ROWS), blocks(len(y), TILE_COLUMNS)
    stage, total = f"distances to {len(y)} images", len(rows) * len(columns)
    for i, some in enumerate(rows):
        x_rows, tiles = x[some].to(device).double(), []
        for j, others in enumerate(columns):
            progress(stage, i * len(columns) + j, total)
            tiles.append(euclidean(x_rows, y[others].to(device).double()))
        yield some, torch.cat(tiles, dim=1)
    progress(stage, total, total)


def nearest_rows(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], k: int, device: torch.device, progress: Progress = silent
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """Distances and indices of the `k` rows of `y` nearest to each row of `x`, nearest first."""
    found = [d.topk(k, largest=False) for _, d in distances(x, y, device, progress)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def radii(x: Float[Tensor, "n d"], k: int, device: torch.device, progress: Progress = silent) -> Float[Tensor, " n"]:
    """Distance of each row to its k-th nearest other row, on `device`."""
    return nearest_rows(x, x, k + 1, device, progress)[0][:, -1]  # the nearest row is the row itself


def check_neighbours(k: int, most: int, evaluator: str, what: str) -> None:
    """UserError where `k` is not in 1..most."""
    if not 1 <= k <= most:
        raise UserError(
            f"got k={k} for {evaluator} with {what}, expected 1 to {most}: "
            f"lower evaluator.{evaluator}.k or take more images"
        )
