"""The transformer: a distribution over sequences and over images, causal, with an exact cache."""

from math import cos, log, sin, sqrt

import pytest
import torch
from torch import nn

from genmodels.config.compose import compose_config, resolved
from genmodels.errors import UserError
from genmodels.nn.causal.rotary import rotary_angles, turned
from genmodels.nn.causal.transformer import Transformer
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

SMALL = {"width": 16, "layers": 2, "heads": 4}


@pytest.mark.parametrize("shape, levels", [((4,), 3), ((1, 2, 2), 3), ((3, 1, 2), 2), ((2, 2), 3)])
@pytest.mark.parametrize("inputs", ["embedded", "scaled"])
def test_probabilities_of_every_sequence_sum_to_one(shape, levels, inputs):
    p = made("transformer", shape, levels, noise=0.3, inputs=inputs, **SMALL).log_prob(every_code(shape, levels)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert p.max() > 1.5 * p.min()


def test_samples_have_the_models_frequencies():
    model, n = made("transformer", (4,), 3, noise=0.3, **SMALL), 10_000
    expected = n * model.log_prob(every_code((4,), 3)).exp()
    with seeded(0):
        assert chi_square_fits(frequencies(model.sample(n), 3), expected)


ROTARY, LOCAL, STRIDED = {"positions": "rotary"}, {"attention": "local"}, {"attention": "strided"}
CASES = [
    ((12,), {}),
    ((3, 2, 3), {}),
    ((3, 2, 3), {"inputs": "scaled"}),
    ((3, 4), {}),
    ((12,), ROTARY),
    ((3, 2, 3), ROTARY | STRIDED | {"window": 3}),
    ((12,), STRIDED | {"window": 4}),
    ((12,), ROTARY | LOCAL | {"window": 12}),
]


@pytest.mark.parametrize("shape, settings", CASES)
def test_an_entry_depends_on_all_before_it_and_on_nothing_else(shape, settings):
    model = made("transformer", shape, 5, classes=10, noise=0.2, **SMALL | settings).double()
    x = torch.randint(5, (1, *shape), dtype=torch.uint8)
    assert is_causal(*dependences(model.network, x, 5, context_of(model, 1)), sees_all=True)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_window_hides_what_is_further_away(layers, positions):
    settings = {"layers": layers, "positions": positions, "window": 3}
    entries, sites = torch.arange(12), torch.arange(12)[:, None]
    gap = sites - (entries + 1)  # an entry is the input of the token after it
    for attention in ("local", "strided"):
        model = made("transformer", (12,), 5, noise=0.2, **SMALL | settings, attention=attention).double()
        moved, _ = dependences(model.network, torch.randint(5, (1, 12)), 5, context_of(model, 1))
        near = gap <= 2 * layers
        seen = near if attention == "local" else near | (gap % 3 == 0) | (layers == 2)
        assert torch.equal(moved > 1e-13, seen & (gap >= 0))


@pytest.mark.parametrize("shape, settings", [*CASES, ((12,), LOCAL | {"window": 3}), ((12,), LOCAL | {"window": 1})])
def test_the_cache_gives_the_logits_of_the_whole_pass(shape, settings):
    model = made("transformer", shape, 5, classes=10, noise=0.2, **SMALL | settings).double()
    assert cache_error(model.network, torch.randint(5, (2, *shape), dtype=torch.uint8), context_of(model, 2)) < 1e-12


@pytest.mark.parametrize("shape, levels, classes", [((30,), 65, None), ((3, 3, 2), 17, 10), ((20,), 1000, 10)])
@pytest.mark.parametrize("settings", [{}, ROTARY, STRIDED | {"window": 5}, ROTARY | LOCAL | {"window": 4}])
def test_cached_sampling_equals_the_naive_loop(shape, levels, classes, settings):
    model = made("transformer", shape, levels, classes=classes, noise=0.1, **SMALL | settings)
    cached, naive = cached_and_naive(model, 3)
    assert torch.equal(cached, naive)
    assert cached.unique().numel() > 2


def test_turned_queries_and_keys_meet_by_their_distance():
    torch.manual_seed(0)
    angles, (q, k) = rotary_angles(9, 6).double(), torch.randn(2, 1, 1, 1, 6).double()
    products = (turned(q.expand(-1, -1, 9, -1), angles) @ turned(k.expand(-1, -1, 9, -1), angles).mT)[0, 0]
    for gap in range(9):
        assert products.diagonal(-gap).std(correction=0) < 1e-6
    assert products[:, 0].unique().numel() == 9
    assert products[4, 4].item() == pytest.approx((q * k).sum().item())
    pair = torch.tensor([1.0, 0.0]).expand(1, 1, 3, -1)  # the first frequency is 1 radian a position
    torch.testing.assert_close(turned(pair, rotary_angles(3, 2))[0, 0, 2], torch.tensor([cos(2), sin(2)]))
    assert rotary_angles(2, 8)[1].tolist() == pytest.approx([1, 0.1, 0.01, 0.001])


def test_symbols_have_no_order_and_pixels_have():
    """Levels in another order, their vectors too: the same model, where inputs are embedded."""
    model = made("transformer", (6,), 5, noise=0.3, **SMALL)
    x, other = torch.randint(5, (4, 6)), torch.tensor([3, 0, 4, 1, 2])
    before = model.log_prob(x)
    with torch.no_grad():
        for weights in (model.network.inputs.embedding.weight, model.network.out.weight, model.network.out.bias):
            weights[other] = weights.clone()
    torch.testing.assert_close(model.log_prob(other[x]), before)
    assert made("transformer", (6,), 5, inputs="scaled", **SMALL).network.inputs.embedding is None


def test_weights_begin_as_gpt2s():
    model = made("transformer", (16,), 65, width=128, layers=8)
    for name, module in model.network.named_modules():
        if not isinstance(module, nn.Linear | nn.Embedding):
            continue
        into_residual = name.endswith(("attention.out", "narrow"))
        assert module.weight.std().item() == pytest.approx(0.02 / (sqrt(16) if into_residual else 1), rel=0.05), name
        assert not module.weight.mean().abs() > 1e-3
        assert not (isinstance(module, nn.Linear) and module.bias.any())
    nats = -model.log_prob(torch.randint(65, (4, 16))) / 16
    torch.testing.assert_close(nats, torch.full((4,), log(65)), rtol=0.05, atol=0)


def test_it_learns_a_text():
    """A cycle of five symbols that begins anywhere: log 5 nats for the first, nothing for the others."""
    x = (torch.arange(5)[:, None] + torch.arange(12)).remainder(5).to(torch.uint8).repeat(8, 1)
    model = made("transformer", (12,), 5, **SMALL)
    assert learns(model, x, steps=60, lr=1e-2) < log(5) + 0.2
    steps = model.sample(50).long().diff(dim=1).remainder(5)
    assert (steps == 1).float().mean() > 0.95


def test_its_recipe_is_nanogpts():
    config = resolved(compose_config("train", ["model=transformer", "data=text", "data.path=x", "name=x", "run_dir=x"]))
    optimizer, scheduler = config["optimizer"], config["scheduler"]
    assert (optimizer["lr"], optimizer["betas"], optimizer["weight_decay"]) == (1e-3, [0.9, 0.99], 0.1)
    assert (scheduler["warmup_steps"], scheduler["final"] * optimizer["lr"]) == (100, pytest.approx(1e-4))
    assert config["ema"]["decay"] == 0
    assert config["parameter_groups"]["no_decay"]["weight_decay"] == 0
    assert config["model"]["network"]["shape"] == [64] and config["model"]["network"]["levels"] == 65


def test_settings_that_do_not_fit_are_refused():
    settings = {"shape": (8,), "levels": 4, "likelihood": Categorical(levels=4), "inputs": "embedded", "dropout": 0.0}
    settings |= {"positions": "learned", "attention": "full", "window": None}
    with pytest.raises(UserError, match="multiple of heads"):
        Transformer(context={}, width=10, heads=4, layers=1, **settings)
    with pytest.raises(UserError, match="takes vector of a condition"):
        Transformer(context={"tokens": 3}, width=8, heads=4, layers=1, **settings)
    for unfit, says in (
        ({"positions": "rotary"}, "a head of the transformer has 3"),
        ({"attention": "local"}, "attention=local and window=None; give model.network.window"),
        ({"window": 4}, "attention=full and window=4; leave window at null"),
    ):
        with pytest.raises(UserError, match=says):
            Transformer(context={}, width=12, heads=4, layers=1, **settings | unfit)
