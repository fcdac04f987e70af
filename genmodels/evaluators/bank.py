"""A row for every sample, by sample number, for metrics that need more than sums."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genmodels.evaluators.distributed import total

ROWS_AT_ONCE = 4096  # rows that are summed over processes at once


class Bank:
    """float32 rows (n, *shape) on the CPU, each written once, by the process that has the sample."""

    def __init__(self, n: int, shape: Sequence[int]):
        self.rows = torch.zeros(n, *shape)
        self.written = torch.zeros(n, dtype=torch.float64)

    def put(self, index: Int[Tensor, " b"], rows: Float[Tensor, " b *shape"]) -> None:
        """Keeps the rows of the samples with these numbers."""
        i = index.cpu()
        self.rows[i] = rows.detach().float().cpu()
        self.written[i] += 1

    def gathered(self, device: torch.device) -> Float[Tensor, " n *shape"]:
        """All rows in the order of their numbers, the same on every process; sent through `device`."""
        assert bool((total(self.written.to(device)) == 1).all()), "a row was written twice, or never"
        parts = [total(rows.double().to(device)).float().cpu() for rows in self.rows.split(ROWS_AT_ONCE)]
        return torch.cat(parts)
