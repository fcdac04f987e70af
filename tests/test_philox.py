"""Philox4x32-10: the published vectors, one stream of numbers for each sample, the distributions of draws."""

from functools import partial

import pytest
import torch
from scipy import stats

from genmodels import philox
from genmodels.philox import Streams
from genmodels.seeds import ByNumber, fold, generator_on

CPU = torch.device("cpu")
KINDS = {
    "normal": philox.normal,
    "uniform": philox.uniform,
    "exponential": philox.exponential,
    "integers": partial(philox.integers, high=2**31),
}
LAWS = {"normal": stats.norm.cdf, "uniform": stats.uniform.cdf, "exponential": stats.expon.cdf}
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_the_known_answers_of_random123(counter, key, expected):
    (c0, c1, c2, c3), (k0, k1) = ([int(word, 16) for word in words.split()] for words in (counter, key))
    position, number = (torch.tensor([[high << 32 | low]]).view(1) for low, high in signed((c0, c1), (c2, c3)))
    assert [f"{word:08x}" for word in philox.block(position, number, k1 << 32 | k0).flatten().tolist()] == (
        expected.split()
    )


def signed(*pairs):
    """Words of 32 bits, the high one with a sign, so that both together are an int64."""
    return [(low, high - (high >> 31 << 32)) for low, high in pairs]


def drawn(kind, first=0, n=10, seed=7, shape=(3, 5), times=2):
    """Several draws of the same kind, (times, n, ...)."""
    streams = Streams(fold(seed), first, n)
    size = (n,) if kind == "integers" else (n, *shape)
    return torch.stack([streams.draw(size, CPU, KINDS[kind]) for _ in range(times)])


@each_kind
def test_a_sample_has_its_own_numbers_whatever_the_batch(kind):
    together = drawn(kind)
    assert torch.equal(torch.cat([drawn(kind, 0, 4), drawn(kind, 4, 5), drawn(kind, 9, 1)], dim=1), together)
    assert len(together.flatten(0, 1).unique(dim=0)) == 20  # other numbers for each sample, and for each draw
    assert not (drawn(kind, seed=8) == together).any(dim=1).all()


def test_no_number_of_a_stream_appears_twice():
    words = drawn("integers", n=500, times=40)
    assert len(words.unique()) > 20_000 - 3  # two of 20,000 numbers below 2^31 are equal with probability 0.09
    far = Streams(fold(7), 2**40, 2)
    assert not torch.equal(
        far.draw((2, 8), CPU, philox.uniform), Streams(fold(7), 0, 2).draw((2, 8), CPU, philox.uniform)
    )


@pytest.mark.parametrize("ahead", [1, 64, philox.AHEAD])
def test_draws_do_not_depend_on_how_many_blocks_are_made_ahead(monkeypatch, ahead):
    def mixed():
        streams = Streams(3, 0, 2)
        sizes = [(2, 3), (2, 70), (2,), (2, 1, 9), (2, 0), (2, 128)] * 3
        return [streams.draw(size, CPU, philox.uniform) for size in sizes]

    expected = mixed()
    monkeypatch.setattr(philox, "AHEAD", ahead)
    assert all(map(torch.equal, mixed(), expected))


@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize("seed", [0, 1])
def test_distributions(kind, seed):
    x = drawn(kind, n=2000, seed=seed, shape=(50,))
    assert x.dtype == torch.float32 and stats.kstest(x.flatten().numpy(), LAWS[kind]).pvalue > 0.01
    by_entry = torch.cat(tuple(x), dim=1).T  # 100 entries of each sample
    assert by_entry.corrcoef().triu(1).abs().max() < 0.12  # of 5,000 correlations, each about 0.022
    assert by_entry.T.corrcoef().triu(1).abs().mean() < 0.09  # of samples, each about 0.1, 0.08 on average


@pytest.mark.parametrize("high", [3, 1000, 3 * 2**29, 2**31])
def test_integers(high):
    x = Streams(fold(0), 0, 40_000).draw((40_000,), CPU, partial(philox.integers, high=high))
    assert x.dtype == torch.int64 and x.min() >= 0 and x.max() < high
    thirds = (x * 3 // high).bincount(minlength=3)
    expected = [((i + 1) * high + 2) // 3 - (i * high + 2) // 3 for i in range(3)]
    assert stats.chisquare(thirds.numpy(), [40_000 * k / high for k in expected]).pvalue > 0.01


def test_the_least_and_the_greatest_words_give_finite_numbers():
    words = torch.tensor([[0, 0, 2**32 - 1, 2**32 - 1, 0, 2**32 - 1, 2**32 - 1, 0, 2**31, 2**31 - 1, 255, 256]])
    uniform, exponential = philox.uniform(words), philox.exponential(words)
    assert uniform.min() == 0 and uniform.max() == 1 - 2**-24
    assert exponential.min() > 1e-10 and exponential.max() < 17 and exponential.log().isfinite().all()
    assert philox.normal(words).isfinite().all() and 6 < philox.normal(words).abs().max() < 7


def test_only_the_cpu_draws_by_mersenne_twisters():
    rng, shape = ByNumber(0, 0, 2), (2, 3)
    assert rng.normal(shape, torch.device("meta")).shape == shape and "generators" not in vars(rng)
    assert rng.integers(5, 2, torch.device("meta")).shape == (2,)
    assert rng.stream.used == 2 and rng.normal(shape, CPU).isfinite().all() and rng.stream.used == 2
    assert [generator_on(torch.device(name)) for name in ("cpu", "cuda")] == ["mt19937", "philox4x32-10"]
    with pytest.raises(ValueError, match="got 3 samples, expected 2, one for each generator"):
        rng.normal((3, 1), torch.device("meta"))
