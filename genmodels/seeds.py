"""Random numbers as pure functions of (seed, position), independent of what ran before."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from numpy.random import SeedSequence
from torch import Tensor


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
    """A separate generator for each sample, for the samples number `first` .. `first + n - 1` of a set.

    A sample's random numbers depend on (seed, its number) alone, not on the batch size, the number of processes or
    the device: the generators run on the CPU. The cost is about that of one draw for all samples on the CPU.
    """

    def __init__(self, seed: int, first: int, n: int):
        self.generators = [torch.Generator().manual_seed(fold(seed, number)) for number in range(first, first + n)]

    def normal(self, shape: Sequence[int], device: torch.device) -> Tensor:
        return self._each(torch.Tensor.normal_, torch.empty(*shape), device)

    def uniform(self, shape: Sequence[int], device: torch.device) -> Tensor:
        return self._each(torch.Tensor.uniform_, torch.empty(*shape), device)

    def exponential(self, shape: Sequence[int], device: torch.device) -> Tensor:
        return self._each(torch.Tensor.exponential_, torch.empty(*shape), device)

    def integers(self, high: int, n: int, device: torch.device) -> Tensor:
        draws = torch.empty(n, dtype=torch.int64)
        return self._each(lambda row, generator: row.random_(high, generator=generator), draws, device)

    def _each(self, fill: Callable[..., Tensor], draws: Tensor, device: torch.device) -> Tensor:
        """Fills each sample's row by its own generator."""
        if len(draws) != len(self.generators):
            raise ValueError(f"got {len(draws)} samples, expected {len(self.generators)}, one for each generator")
        for row, generator in zip(draws, self.generators, strict=True):
            fill(row, generator=generator)
        return draws.to(device)


GLOBAL = Global()
