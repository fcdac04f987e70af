"""Histograms of values, small enough to be saved at every evaluation of a run."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

HISTOGRAM_BINS = 64


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of the values in bins of equal width from `low` to `high`."""

    low: float
    high: float
    counts: list[int]

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins, one more than bins."""
        return np.linspace(self.low, self.high, len(self.counts) + 1)


def histogram_of(values: Float[Tensor, " n"]) -> Histogram:
    """The histogram of the finite values."""
    finite = values[values.isfinite()].double().cpu().numpy()
    counts, edges = np.histogram(finite, bins=HISTOGRAM_BINS)
    return Histogram(low=float(edges[0]), high=float(edges[-1]), counts=counts.tolist())
