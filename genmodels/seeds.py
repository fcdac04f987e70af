"""Random numbers as pure functions of (seed, position), never of what ran before."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from numpy.random import SeedSequence


def fold(seed: int, *position: int) -> int:
    """A 63-bit seed that differs, for all practical purposes, for every (seed, *position); all >= 0."""
    state = SeedSequence([seed, len(position), *position]).generate_state(2)  # the length: (1,) is not (1, 0)
    return (int(state[0]) << 31) ^ int(state[1])


@contextmanager
def seeded(seed: int, *position: int) -> Iterator[None]:
    """Seeds torch's global generators for the block, on CPU and GPUs, and gives back their state."""
    with torch.random.fork_rng():
        torch.manual_seed(fold(seed, *position))
        yield
