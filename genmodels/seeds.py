"""Random numbers as pure functions of (seed, position), independent of what ran before."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial

import numpy as np
import torch
from numpy.random import SeedSequence
from torch import Tensor

from genmodels import folds, philox


def fold(seed: int, *position: int) -> int:
    """A 63-bit seed that differs, for all practical purposes, for every (seed, *position); all >= 0."""
    state = SeedSequence([seed, len(position), *position]).generate_state(2)  # the length: (1,) is not (1, 0)
    return (int(state[0]) << 31) ^ int(state[1])


@contextmanager
def seeded(seed: int, *position: int) -> Iterator[None]:
    """Seeds torch's global generators for the block, on CPU and GPUs, and restores their state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(fold(seed, *position))
        yield


def seed_generators(seed: int, device: torch.device) -> None:
    """Seeds torch's global generators of the CPU and of `device`.

    Faster than `torch.manual_seed`, which takes milliseconds, since that seeds every kind of device that torch knows.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


class Random(ABC):
    """A source of random numbers for several samples at once: the first dimension of every draw is the sample.

    The caller of `model.sample` passes one and so decides what the random numbers of a sample depend on.
    """

    @abstractmethod
    def normal(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Standard normal draws, float32."""

    @abstractmethod
    def uniform(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Draws from [0, 1), float32."""

    @abstractmethod
    def exponential(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Draws from the exponential distribution of mean 1, float32."""

    @abstractmethod
    def integers(self, high: int, n: int, device: torch.device) -> Tensor:
        """`n` draws from 0..high-1, int64 (n,)."""

    def categorical(self, logits: Tensor) -> Tensor:
        """A draw from each categorical distribution: logits (n, ..., k) to int64 (n, ...) in 0..k-1.

        The argmax of logits + Gumbel noise, which is -log of an exponential.
        """
        return (logits - self.exponential(logits.shape, logits.device).log()).argmax(-1)


class Global(Random):
    """torch's global generator of the device, which the caller seeds (see `seeded`)."""

    def normal(self, shape: Sequence[int], device: torch.device) -> Tensor:
        return torch.randn(*shape, device=device)

    def uniform(self, shape: Sequence[int], device: torch.device) -> Tensor:
        return torch.rand(*shape, device=device)

    def exponential(self, shape: Sequence[int], device: torch.device) -> Tensor:
        return torch.empty(*shape, device=device).exponential_()

    def integers(self, high: int, n: int, device: torch.device) -> Tensor:
        return torch.randint(high, (n,), device=device)


class ByNumber(Random):
    """A stream of random numbers for each sample, for the samples number `first` .. `first + n - 1` of a set.

    A sample's random numbers depend on (seed, its number) alone, not on the batch size or the number of processes. On
    the CPU each sample has a Mersenne Twister; other devices draw by Philox themselves, so the CPU waits for none.
    """

    def __init__(self, seed: int, first: int, n: int):
        self.seed, self.numbers = seed, range(first, first + n)
        self.stream = philox.Streams(fold(seed), first, n)

    @cached_property
    def generators(self) -> list[torch.Generator]:
        """One for each sample, on the CPU."""
        seeds = folds.many(self.seed, np.asarray(self.numbers, np.uint32))
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    def normal(self, shape: Sequence[int], device: torch.device) -> Tensor:
        return self._drawn(shape, device, Tensor.normal_, philox.normal)

    def uniform(self, shape: Sequence[int], device: torch.device) -> Tensor:
        return self._drawn(shape, device, Tensor.uniform_, philox.uniform)

    def exponential(self, shape: Sequence[int], device: torch.device) -> Tensor:
        return self._drawn(shape, device, Tensor.exponential_, philox.exponential)

    def integers(self, high: int, n: int, device: torch.device) -> Tensor:
        return self._drawn(
            (n,), device, partial(Tensor.random_, to=high), partial(philox.integers, high=high), torch.int64
        )

    def _drawn(
        self,
        shape: Sequence[int],
        device: torch.device,
        fill: Callable[..., Tensor],  # a sample's row by its generator, on the CPU
        of_words: Callable[[Tensor], Tensor],  # draws from the words of Philox, elsewhere
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        if shape[0] != len(self.numbers):
            raise ValueError(f"got {shape[0]} samples, expected {len(self.numbers)}, one for each generator")
        if device.type != "cpu":
            return self.stream.draw(shape, device, of_words)
        draws = torch.empty(*shape, dtype=dtype)
        for row, generator in zip(draws, self.generators, strict=True):
            fill(row, generator=generator)
        return draws


def generator_on(device: torch.device) -> str:
    """The generator of `ByNumber` on a device, as protocols name it."""
    return "mt19937" if device.type == "cpu" else "philox4x32-10"


GLOBAL = Global()
