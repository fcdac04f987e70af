"""Two ways to do the same, to be timed in turn."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

Piece = Callable[[], object]  # a piece of work; its cost is the float that it returns, else the seconds that it takes


@dataclass(frozen=True)
class Pair:
    """Each way makes what it needs, and gives the piece of work that is timed."""

    units: int  # steps of training, or images, that each takes or makes
    plain: Callable[[], Piece]
    ours: Callable[[], Piece]
    rounds: int = 5  # in which the two are timed, one after the other
    unit: str = "/s"  # in which the two are shown: units a second, or that of the cost

    def shown(self, cost: float) -> str:
        if self.unit != "/s":
            return f"{cost:,.0f} {self.unit}"
        rate = self.units / cost
        return f"{rate:,.1f}/s" if rate >= 1 else f"{rate:.2g}/s"


OnDevice = Callable[[torch.device], Pair]


def wait(device: str) -> None:
    """Until a GPU has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize()
