"""NADE: its textbook loop, a distribution in any order, causal, sampled at the cost of one pass."""

from math import log

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from genmodels.context import NO_CONTEXT
from genmodels.nn.causal.nade import TOGETHER
from genmodels.parts.orders import Natural, Reversed, Shuffled
from genmodels.seeds import seeded
from tests.autoregressive_checks import (
    cache_error,
    cached_and_naive,
    chi_square_fits,
    context_of,
    dependences,
    every_code,
    frequencies,
    is_causal,
    learns,
    made,
)

SMALL = {"width": 12, "order": Natural()}
ORDERS = [Natural(), Reversed(), Shuffled(seed=1)]
LONG = TOGETHER + 3  # entries, so that they do not come in whole groups


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
def test_it_is_the_papers_loop(order):
    """Uria et al. 2016, algorithm 1, for binary images."""
    model = made("nade", (1, LONG, 1), 2, noise=0.3, **SMALL | {"order": order}).double()
    x = torch.randint(2, (5, 1, LONG, 1), dtype=torch.uint8)
    net, a, log_p = model.network, model.network.c, 0.0
    for i, entry in enumerate(order.permutation(LONG, 0)):
        h = a.sigmoid()
        two = h @ net.v[i] + net.b[i]
        p = (two[:, 1] - two[:, 0]).sigmoid()
        v = x.flatten(1)[:, entry].double()
        log_p = log_p + v * p.log() + (1 - v) * (1 - p).log()
        a = a + v[:, None] * net.w[i]
    torch.testing.assert_close(model.scored(x, {}), log_p, check_dtype=False)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
@pytest.mark.parametrize(
    "shape, levels, inputs", [((4,), 3, "embedded"), ((1, 2, 2), 2, "fractions"), ((2, 1, 2), 3, "scaled")]
)
def test_probabilities_of_every_image_sum_to_one(order, shape, levels, inputs):
    settings = SMALL | {"order": order, "inputs": inputs}
    p = made("nade", shape, levels, noise=0.3, **settings).log_prob(every_code(shape, levels)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert p.max() > 1.5 * p.min()


def test_samples_have_the_models_frequencies():
    model, n = made("nade", (4,), 3, noise=0.3, **SMALL | {"order": Reversed()}), 10_000
    expected = n * model.log_prob(every_code((4,), 3)).exp()
    with seeded(0):
        assert chi_square_fits(frequencies(model.sample(n), 3), expected)


CASES = [((LONG,), "embedded"), ((3, 3, 2), "fractions"), ((5, 4), "scaled")]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
@pytest.mark.parametrize("shape, inputs", CASES)
def test_an_entry_depends_on_all_before_it_and_on_nothing_else(order, shape, inputs):
    model = made("nade", shape, 5, classes=10, noise=0.2, **SMALL | {"order": order, "inputs": inputs}).double()
    x = torch.randint(5, (1, *shape), dtype=torch.uint8)
    assert is_causal(*dependences(model.network, x, 5, context_of(model, 1)), sees_all=True)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
@pytest.mark.parametrize("shape, inputs", CASES)
def test_the_cache_gives_the_logits_of_the_whole_pass(order, shape, inputs):
    model = made("nade", shape, 5, classes=10, noise=0.2, **SMALL | {"order": order, "inputs": inputs}).double()
    assert cache_error(model.network, torch.randint(5, (2, *shape), dtype=torch.uint8), context_of(model, 2)) < 1e-12


@pytest.mark.parametrize("shape, levels, classes", [((30,), 65, None), ((3, 3, 2), 17, 10), ((1,), 300, 10)])
def test_cached_sampling_equals_the_naive_loop(shape, levels, classes):
    cached, naive = cached_and_naive(made("nade", shape, levels, classes=classes, noise=0.1, **SMALL), 3)
    assert torch.equal(cached, naive)
    assert cached.unique().numel() > 2


class Counted(TorchDispatchMode):
    """Counts the operations of a block."""

    n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += 1
        return func(*args, **kwargs or {})


def test_a_pass_has_no_loop_over_the_entries():
    with torch.device("meta"):
        network = made("nade", (784,), 2, order=Natural()).network
        with Counted() as operations:
            network(torch.empty(20, 784, dtype=torch.uint8), NO_CONTEXT)
    assert operations.n < 2 * 784  # a loop has four or more for each entry


def test_it_learns_a_text():
    """A cycle of five symbols that begins anywhere: log 5 nats for the first, nothing for the others."""
    x = (torch.arange(5)[:, None] + torch.arange(12)).remainder(5).to(torch.uint8).repeat(8, 1)
    model = made("nade", (12,), 5, inputs="embedded", **SMALL | {"width": 60})
    assert learns(model, x, steps=80, lr=3e-2) < log(5) + 0.2
    steps = model.sample(50).long().diff(dim=1).remainder(5)
    assert (steps == 1).float().mean() > 0.95
