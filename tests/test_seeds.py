"""Random numbers are functions of (seed, position) alone."""

import pytest
import torch

from genmodels.capabilities import NO_CONDITION, Samples
from genmodels.engine.sample import samples
from genmodels.fields import label
from genmodels.seeds import GLOBAL, ByNumber, fold, seed_generators, seeded

CPU = torch.device("cpu")
DRAWS = {
    "normal": lambda rng, n: rng.normal((n, 3, 5), CPU),
    "uniform": lambda rng, n: rng.uniform((n, 20), CPU),
    "exponential": lambda rng, n: rng.exponential((n, 7), CPU),
    "integers": lambda rng, n: rng.integers(1000, n, CPU),
    "categorical": lambda rng, n: rng.categorical(torch.zeros(n, 4, 4, 100)),
}
each_draw = pytest.mark.parametrize("kind", DRAWS)


def test_folding_tells_positions_apart():
    seeds = [fold(0), fold(1), fold(0, 0), fold(0, 1), fold(0, 1, 0), fold(0, 0, 1), fold(1, 0)]
    assert len(set(seeds)) == len(seeds) and fold(0, 1) == seeds[3]


def test_a_seeded_block_gives_back_the_state():
    state = torch.get_rng_state()
    with seeded(0, 3):
        first = torch.rand(2)
    assert torch.equal(torch.get_rng_state(), state)
    with seeded(0, 3):
        assert torch.equal(torch.rand(2), first)


@each_draw
def test_a_sample_has_its_own_numbers_whatever_the_batch(kind):
    def twice(first, n):
        rng = ByNumber(7, first, n)
        return torch.stack([DRAWS[kind](rng, n), DRAWS[kind](rng, n)])

    together = twice(0, 10)
    assert torch.equal(torch.cat([twice(0, 4), twice(4, 5), twice(9, 1)], dim=1), together)
    assert len(together.flatten(0, 1).unique(dim=0)) == 20
    assert not torch.equal(DRAWS[kind](ByNumber(8, 0, 10), 10), together[0])


@each_draw
def test_global_draws_follow_the_global_seed(kind):
    draws = []
    for seed in (1, 1, 2):
        with seeded(seed):
            draws.append(DRAWS[kind](GLOBAL, 10))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("rng", [GLOBAL, ByNumber(0, 0, 4000)], ids=["global", "per sample"])
def test_distributions(rng):
    n = 4000
    with seeded(0):
        z, u, e = rng.normal((n, 20), CPU), rng.uniform((n, 20), CPU), rng.exponential((n, 20), CPU)
        i = rng.integers(5, n, CPU)
        c = rng.categorical(torch.tensor([0.1, 0.2, 0.7]).log().expand(n, 5, 3))
    assert (z.dtype, u.dtype, e.dtype) == (torch.float32,) * 3 and (i.dtype, c.dtype) == (torch.int64,) * 2
    assert abs(z.mean()) < 0.015 and abs(z.std() - 1) < 0.015
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.005
    assert e.min() >= 0 and abs(e.mean() - 1) < 0.015
    assert z.T.corrcoef().triu(1).abs().max() < 0.08  # draws of one sample are independent
    assert z.view(2, -1).corrcoef()[0, 1].abs() < 0.02  # and those of different samples
    torch.testing.assert_close(i.bincount() / n, torch.full((5,), 0.2), atol=0.03, rtol=0)
    torch.testing.assert_close(c.flatten().bincount() / c.numel(), torch.tensor([0.1, 0.2, 0.7]), atol=0.015, rtol=0)


def test_a_draw_for_another_number_of_samples_is_refused():
    with pytest.raises(ValueError, match="got 3 samples, expected 2, one for each generator"):
        ByNumber(0, 0, 2).normal((3, 1), CPU)


class Noise(Samples):
    condition = label(3)

    def sample(self, n, condition=NO_CONDITION, rng=GLOBAL):
        return rng.integers(1000, n, CPU)[:, None] + 1000 * condition["label"][:, None]


def test_the_command_draws_the_same_first_samples_whatever_n_and_batch_size():
    def drawn(**changed):
        settings = {"n": 100, "batch_size": 100, "seed": 0, "label": 2, "condition": None} | changed
        return samples(Noise(), settings, {}, CPU)[0]

    together = drawn()
    assert together.shape == (100, 1) and together.min() >= 2000
    assert torch.equal(drawn(batch_size=7), together)
    assert torch.equal(drawn(n=64, batch_size=50), together[:64])
    assert not torch.equal(drawn(seed=1), together)


def test_a_step_is_seeded_as_torch_would():
    torch.manual_seed(fold(0, 3))
    expected = torch.rand(2)
    seed_generators(fold(0, 3), CPU)
    assert torch.equal(torch.rand(2), expected)
