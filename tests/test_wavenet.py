"""WaveNet: a distribution over sequences, with an exact receptive field, causal, with exact queues."""

from math import log

import pytest
import torch

from genmodels.errors import UserError
from genmodels.nn.causal.wavenet import WaveNet
from genmodels.parts.site_likelihoods import Categorical
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

SMALL = {"width": 8, "head_width": 12, "layers": 4, "cycle": 3}


@pytest.mark.parametrize("shape, levels", [((4,), 3), ((1, 2, 2), 3), ((3, 1, 2), 2)])
@pytest.mark.parametrize("inputs", ["embedded", "scaled"])
def test_probabilities_of_every_sequence_sum_to_one(shape, levels, inputs):
    p = made("wavenet", shape, levels, noise=0.3, inputs=inputs, **SMALL).log_prob(every_code(shape, levels)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert p.max() > 1.5 * p.min()


def test_samples_have_the_models_frequencies():
    model, n = made("wavenet", (4,), 3, noise=0.3, **SMALL), 10_000
    expected = n * model.log_prob(every_code((4,), 3)).exp()
    with seeded(0):
        assert chi_square_fits(frequencies(model.sample(n), 3), expected)


CASES = [
    ((20,), {}),
    ((20,), {"kernel": 3, "inputs": "scaled"}),
    ((3, 2, 3), {"layers": 6, "cycle": 6}),
    ((20,), {"layers": 1}),
    ((20,), {"layers": 3, "cycle": 1, "kernel": 4}),
]


@pytest.mark.parametrize("shape, settings", CASES)
def test_an_entry_depends_on_those_before_it_as_far_as_the_dilations_reach(shape, settings):
    model = made("wavenet", shape, 5, classes=10, noise=0.2, **SMALL | settings).double()
    size = {"kernel": 2} | SMALL | settings
    reach = 1 + (size["kernel"] - 1) * (1 + sum(2 ** (i % size["cycle"]) for i in range(size["layers"])))
    x = torch.randint(5, (1, *shape), dtype=torch.uint8)
    moved, order = dependences(model.network, x, 5, context_of(model, 1))
    assert is_causal(moved, order, sees_all=False)
    gap = torch.arange(len(order))[:, None] - torch.arange(len(order))
    assert torch.equal(moved[:, order[:, 0]] > 1e-13, (gap > 0) & (gap <= reach))


@pytest.mark.parametrize("shape, settings", CASES)
def test_the_queues_give_the_logits_of_the_whole_pass(shape, settings):
    model = made("wavenet", shape, 5, classes=10, noise=0.2, **SMALL | settings).double()
    assert cache_error(model.network, torch.randint(5, (2, *shape), dtype=torch.uint8), context_of(model, 2)) < 1e-12


@pytest.mark.parametrize("shape, levels, classes", [((60,), 256, None), ((3, 3, 2), 17, 10)])
def test_cached_sampling_equals_the_naive_loop(shape, levels, classes):
    cached, naive = cached_and_naive(made("wavenet", shape, levels, classes=classes, noise=0.1, **SMALL), 3)
    assert torch.equal(cached, naive)
    assert cached.unique().numel() > 2


def test_it_learns_a_wave():
    """A cycle of five symbols that begins anywhere: log 5 nats for the first, nothing for the others."""
    x = (torch.arange(5)[:, None] + torch.arange(12)).remainder(5).to(torch.uint8).repeat(8, 1)
    model = made("wavenet", (12,), 5, **SMALL | {"width": 16})
    assert learns(model, x, steps=60, lr=1e-2) < log(5) + 0.2
    assert (model.sample(50).long().diff(dim=1).remainder(5) == 1).float().mean() > 0.95


def test_the_papers_dilations_are_reachable_by_overrides():
    with torch.device("meta"):
        network = made("wavenet", (16_000,), 256, layers=30, cycle=10).network
    assert [layer.conv.backs for layer in network.layers] == [[2**i, 0] for i in range(10)] * 3


def test_a_condition_that_is_no_vector_is_refused():
    settings = {"levels": 4, "likelihood": Categorical(levels=4), "inputs": "embedded", "dropout": 0.0, "kernel": 2}
    with pytest.raises(UserError, match="WaveNet takes vector of a condition"):
        WaveNet(shape=(8,), context={"maps": 3}, **SMALL, **settings)
