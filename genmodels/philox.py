"""Random numbers by Philox4x32-10, a generator that is a function of a key and a counter, on any device.

Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", https://doi.org/10.1145/2063384.2063405
Words of 32 bits are int64 here, since torch computes little with unsigned integers.
"""

from collections.abc import Callable, Sequence
from math import pi, prod

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85  # added to the two words of the key after each round
MASK = 2**32 - 1
AHEAD = 2**16  # blocks that are made at once where a draw needs fewer: it takes more than 100 operations

Words = Int[Tensor, "n words"]
Reals = Float[Tensor, "n words"]


class Streams:
    """A stream of random numbers for each of the samples number `first` .. `first + n - 1` of a set.

    A sample's numbers are a function of (key, its number) and of the draws before. `key` has 64 bits.
    """

    def __init__(self, key: int, first: int, n: int):
        self.key, self.first, self.n = key, first, n
        self.used = 0  # blocks of four words that each stream has given
        self._made = torch.empty(n, 0, dtype=torch.int64)  # words, the first of them of block number `_begin`
        self._begin, self._device = 0, self._made.device

    def draw(self, shape: Sequence[int], device: torch.device, of_words: Callable[[Words], Tensor]) -> Tensor:
        """`of_words` of the next words, in this shape, whose first dimension is the sample."""
        m = prod(shape[1:])
        return of_words(self._next(-(-m // 4), device))[:, :m].reshape(shape).contiguous()

    def _next(self, blocks: int, device: torch.device) -> Words:
        """The next blocks of each stream, from those that are made already where they suffice."""
        begin = 4 * (self.used - self._begin)
        if begin + 4 * blocks > self._made.shape[1] or device != self._device:
            number = torch.arange(self.first, self.first + self.n, device=device)[:, None]
            position = torch.arange(self.used, self.used + max(blocks, AHEAD // self.n), device=device)
            self._made, self._begin, self._device = block(position, number, self.key), self.used, device
            begin = 0
        self.used += blocks
        return self._made[:, begin : begin + 4 * blocks]


def block(position: Int[Tensor, " blocks"], number: Int[Tensor, " *n"], key: int) -> Int[Tensor, " *words"]:
    """The four words of each counter (position, number), two integers of 64 bits, one block after the other."""
    c0, c1, c2, c3 = position & MASK, position >> 32, number & MASK, number >> 32
    for k in range(ROUNDS):  # the high halves of c1 and c3 do not matter before the end
        k0, k1 = (((key >> shift) + k * weyl) & MASK for shift, weyl in zip((0, 32), WEYL, strict=True))
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0 = ((p1 >> 32) ^ c1).bitwise_xor_(k0).bitwise_and_(MASK)
        c2 = ((p0 >> 32) ^ c3).bitwise_xor_(k1).bitwise_and_(MASK)
        c1, c3 = p1, p0
    return torch.stack((c0, c1, c2, c3), -1).bitwise_and_(MASK).flatten(-2)


def uniform(words: Words) -> Reals:
    """Draws from [0, 1): the multiples of 2^-24."""
    return (words >> 8).to(torch.float32).mul_(2.0**-24)


def normal(words: Words) -> Reals:
    """Standard normal draws, each two from two words (Box & Muller 1958); below 6.7 in absolute value."""
    first, second = words.unflatten(1, (-1, 2)).unbind(-1)
    radius = _between_0_and_1(first).log_().mul_(-2).sqrt_()
    return torch.view_as_real(torch.polar(radius, second.to(torch.float32).mul_(pi / 2**31))).flatten(1)


def exponential(words: Words) -> Reals:
    """Draws from the exponential distribution of mean 1, from 1e-10 to 16.7: they and their logarithms are finite."""
    return _between_0_and_1(words).neg_().log1p_().neg_()


def integers(words: Words, high: int) -> Int[Tensor, "n half"]:
    """Draws from 0..high-1, each from 63 bits of two words.

    The probability of a number differs from 1/high by less than the part high/2^63, 2^-32 for the greatest high, 2^31.
    """
    first, second = words.unflatten(1, (-1, 2)).unbind(-1)
    return ((first << 31) | (second >> 1)) % high


def _between_0_and_1(words: Words) -> Reals:
    """Numbers of the open interval (0, 1), close to 0 the odd multiples of 2^-33."""
    return words.to(torch.float32).add_(0.5).mul_(2.0**-32).clamp_(max=1 - 2.0**-24)
