"""Many values of `genmodels.seeds.fold` at once, at a small part of their cost one by one.

The arithmetic is that of NumPy's SeedSequence, which NumPy promises not to change, for arrays: 32-bit words are hashed
into a pool of four, and two words of state come out. The constants are NumPy's (M. E. O'Neill's seed_seq_fe).
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from jaxtyping import UInt32

AT_ONCE = 256
POOL = 4
MIX = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)

Words = UInt32[np.ndarray, "words n"]
Numbers = UInt32[np.ndarray, " n"]


class Folds:
    """`fold(seed, *position(n))` for n below 2^32, cheap where n rises by one. `position` is given an array of n."""

    def __init__(self, seed: int, position: Callable[[Numbers], tuple[int | Numbers, ...]]):
        self._seed, self._position = seed, position
        self._begin, self._values = 0, list[int]()

    def __getitem__(self, n: int) -> int:
        if not 0 <= n - self._begin < len(self._values):
            numbers = np.arange(n, n + AT_ONCE, dtype=np.uint32)
            self._begin, self._values = n, many(self._seed, *self._position(numbers))
        return self._values[n - self._begin]


def many(seed: int, *position: int | Numbers) -> list[int]:
    """`fold(seed, *position)` for each entry of the arrays among the position."""
    words = [word for value in (seed, len(position), *position) for word in _words(value)]
    words += [np.zeros(1, np.uint32)] * (POOL - len(words))
    high, low = _state(np.stack(np.broadcast_arrays(*words))).astype(np.int64)
    folded: list[int] = ((high << 31) ^ low).tolist()
    return folded


def _words(value: int | Numbers) -> list[Numbers]:
    """An array, or the words of an integer, the lowest first."""
    if isinstance(value, np.ndarray):
        return [value]
    return [np.array([value >> shift & 0xFFFFFFFF], np.uint32) for shift in range(0, max(value.bit_length(), 1), 32)]


def _state(words: Words) -> UInt32[np.ndarray, "2 n"]:
    """`SeedSequence(words).generate_state(2)` of each column."""
    constants = _powers(0x43B0D7E5, 0x931E8875, POOL * len(words) + 1)
    pool, used = _hashed(words[:POOL], constants[: POOL + 1]), POOL
    for source in range(POOL):
        others = [i for i in range(POOL) if i != source]
        pool[others] = _mixed(pool[others], _hashed(pool[source], constants[used : used + POOL]))
        used += POOL - 1
    for word in words[POOL:]:
        pool = _mixed(pool, _hashed(word, constants[used : used + POOL + 1]))
        used += POOL
    return _hashed(pool[:2], _powers(0x8B51F9DD, 0x58F38DED, 3))


@cache
def _powers(first: int, factor: int, n: int) -> UInt32[np.ndarray, "n 1"]:
    return np.cumprod(np.array([first] + [factor] * (n - 1), np.uint32), dtype=np.uint32)[:, None]


def _hashed(x: UInt32[np.ndarray, "..."], constants: UInt32[np.ndarray, "k 1"]) -> Words:
    product: np.ndarray = (x ^ constants[:-1]) * constants[1:]
    return product ^ (product >> 16)


def _mixed(x: Words, y: Words) -> Words:
    difference: np.ndarray = x * MIX[0] - y * MIX[1]
    return difference ^ (difference >> 16)
