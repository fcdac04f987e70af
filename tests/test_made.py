"""MADE: a distribution in any order and by any number of masks, causal, sampled at the cost of one pass."""

from math import log

import pytest
import torch

from genmodels.capabilities import Clock
from genmodels.errors import UserError
from genmodels.nn.causal.made import degrees
from genmodels.nn.layers.masked_mlp import mask
from genmodels.parts.orders import Natural, Reversed, Shuffled, Written
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
)
from tests.autoregressive_checks import made as built

SMALL = {"widths": [24, 24], "order": Natural()}
ORDERS = [Natural(), Reversed(), Shuffled(seed=1)]
TINY = [((4,), 3, "embedded"), ((1, 2, 2), 2, "fractions"), ((2, 1, 2), 3, "scaled")]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
@pytest.mark.parametrize("shape, levels, inputs", TINY)
@pytest.mark.parametrize("masks, direct", [(1, False), (1, True), (3, True)])
def test_probabilities_of_every_image_sum_to_one(order, shape, levels, inputs, masks, direct):
    settings = SMALL | {"order": order, "inputs": inputs, "masks": masks, "direct": direct}
    p = built("made", shape, levels, noise=0.3, **settings).log_prob(every_code(shape, levels)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert p.max() > 1.5 * p.min()


def test_samples_have_the_models_frequencies():
    model, n = built("made", (4,), 3, noise=0.3, **SMALL | {"order": Reversed()}), 10_000
    expected = n * model.log_prob(every_code((4,), 3)).exp()
    with seeded(0):
        assert chi_square_fits(frequencies(model.sample(n), 3), expected)


CASES = [((9,), "embedded", 1), ((3, 2, 2), "fractions", 3), ((3, 3), "scaled", 1)]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
@pytest.mark.parametrize("shape, inputs, masks", CASES)
@pytest.mark.parametrize("direct", [False, True])
def test_an_entry_depends_on_all_before_it_and_on_nothing_else(order, shape, inputs, masks, direct):
    """Of each mask; few units see all that they may."""
    settings = {"widths": [200], "order": order, "inputs": inputs, "masks": masks, "direct": direct}
    model = built("made", shape, 5, classes=10, noise=0.2, activation="tanh", **settings).double()
    x = torch.randint(5, (1, *shape), dtype=torch.uint8)
    for k in range(masks):
        model.network.forward = lambda codes, context, k=k: list(model.network.passes(codes, context))[k][1]
        moved, _ = dependences(model.network, x, 5, context_of(model, 1))
        of_mask = list(model.network.passes(x, context_of(model, 1)))[k][0]
        assert is_causal(moved, of_mask, sees_all=True)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
@pytest.mark.parametrize("shape, inputs, masks", CASES)
@pytest.mark.parametrize("widths, direct", [([7], False), ([30, 20], True)])
def test_the_cache_gives_the_logits_of_the_whole_pass(order, shape, inputs, masks, widths, direct):
    settings = {"order": order, "inputs": inputs, "masks": masks, "widths": widths, "direct": direct}
    model = built("made", shape, 5, classes=10, noise=0.2, **settings).double()
    assert cache_error(model.network, torch.randint(5, (2, *shape), dtype=torch.uint8), context_of(model, 2)) < 1e-12


@pytest.mark.parametrize("shape, levels, classes", [((30,), 65, None), ((3, 3, 2), 17, 10), ((1,), 300, 10)])
def test_cached_sampling_equals_the_naive_loop(shape, levels, classes):
    cached, naive = cached_and_naive(built("made", shape, levels, classes=classes, noise=0.1, **SMALL), 3)
    assert torch.equal(cached, naive)
    assert cached.unique().numel() > 2


def test_masks_of_the_papers_figure():
    """Figure 1: entries of degrees 3, 1, 2, hidden units of degrees 2, 1, 2, 2 and 1, 2, 2, 1."""
    entries, first, second = (torch.tensor(m) - 1 for m in ([3, 1, 2], [2, 1, 2, 2], [1, 2, 2, 1]))
    into_first = torch.tensor([[0, 1, 1], [0, 1, 0], [0, 1, 1], [0, 1, 1]])
    into_second = torch.tensor([[0, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 0, 0]])
    out = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1]])
    assert torch.equal(mask(entries, first).long(), into_first)
    assert torch.equal(mask(first, second).long(), into_second)
    assert torch.equal(mask(second, entries, strict=True).long(), out)


def test_degrees_are_drawn_as_in_the_paper():
    """Uniform from the least of the layer before to the last place but one; another draw for each mask."""
    order = Shuffled(seed=0).permutation(6, 0)
    entries, first, second = degrees(order, [500, 500], 0).split([6, 500, 500])
    assert torch.equal(entries[order], torch.arange(6))
    for units in (first, second):
        assert units.unique().tolist() == [0, 1, 2, 3, 4]
        assert (units.bincount() > 70).all()
    assert torch.equal(degrees(order, [500], 0), degrees(order, [500], 0))
    assert not torch.equal(degrees(order, [500], 0), degrees(order, [500], 1))
    low = degrees(order, [1, 200], 3)[6]
    assert degrees(order, [1, 200], 3)[7:].min() == low > 0


def test_training_takes_the_masks_in_turn_and_evaluation_their_mean():
    model = built("made", (1, 2, 2), 2, noise=0.5, masks=3, **SMALL | {"order": Shuffled(seed=2)})
    x = every_code((1, 2, 2), 2)
    each = []
    for step in (0, 1, 2, 3):
        model.network.at(Clock(step, 0, -1))
        each.append(model.train().loss(x)["loss"])
    assert torch.equal(each[0], each[3])
    assert not torch.equal(each[0], each[1]) and not torch.equal(each[1], each[2])
    p = torch.stack([(-nats).exp() for nats in each[:3]])
    torch.testing.assert_close(p.sum(1), torch.ones(3))
    torch.testing.assert_close(model.eval().log_prob(x), p.mean(0).log())
    assert model.likelihood_protocol() == {"masks": 3, "mean_over_masks": "probabilities"}
    assert model.sampling_protocol().items() >= {"masks": 3, "drawn_by_mask": "first"}.items()
    one = built("made", (4,), 2, **SMALL)
    assert one.likelihood_protocol() == {} and "masks" not in one.sampling_protocol()


def test_it_learns_a_text_in_any_order():
    """A cycle of five symbols that begins anywhere: log 5 nats for the first, nothing for the others."""
    x = (torch.arange(5)[:, None] + torch.arange(12)).remainder(5).to(torch.uint8).repeat(8, 1)
    model = built("made", (12,), 5, inputs="embedded", **SMALL | {"order": Shuffled(seed=0), "widths": [60]})
    assert learns(model, x, steps=60, lr=2e-2) < log(5) + 0.2
    steps = model.sample(50).long().diff(dim=1).remainder(5)
    assert (steps == 1).float().mean() > 0.95


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(UserError, match=r"model.network.widths=\[\], expected the width of at least one hidden layer"):
        built("made", (4,), 2, **SMALL | {"widths": []})
    with pytest.raises(UserError, match="the order has 2 entries and a sample has 4"):
        built("made", (4,), 2, **SMALL | {"order": Written(entries=[1, 0])})
    with pytest.raises(UserError, match=r"MADE would have 2.4e\+09 weights .* set model.network.direct=false"):
        built("made", (3, 32, 32), 256, **SMALL | {"direct": True})
