"""Autoregressive models: distributions over codes, causal without a blind spot, with an exact cache. Gated PixelCNN."""

from math import log, log2, prod
from typing import Any

import pytest
import torch

from genmodels.capabilities import Completes, can
from genmodels.context import NO_CONTEXT
from genmodels.errors import UserError
from genmodels.models.autoregressive import Autoregressive
from genmodels.nn.causal.gated_pixelcnn import GatedPixelCNN
from genmodels.parts.orders import Natural
from genmodels.parts.site_likelihoods import Categorical
from genmodels.parts.spaces import Symbols
from genmodels.samplers.direct import Direct
from genmodels.seeds import seeded
from genmodels.units import bits_per_dim
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
    sample_naively,
)

SMALL = {"width": 8, "head_width": 24, "layers": 3}
EMBEDDED = {"inputs": "embedded", "embedding_width": 5}
ALL = [  # name, shape, and a small size
    ("pixelcnn", (1, 4, 4), SMALL),
    ("pixelcnnpp", (3, 2, 4), {"width": 8, "blocks": 1, "scales": 2, "components": 2}),
    ("transformer", (12,), {"width": 16, "layers": 2}),
    ("made", (3, 2, 2), {"widths": [40], "order": Natural(), "masks": 2}),
    ("nade", (3, 2, 2), {"width": 20, "order": Natural()}),
    ("transformer", (12,), {"width": 16, "layers": 2, "positions": "rotary", "attention": "local", "window": 4}),
    ("wavenet", (12,), {"width": 8, "head_width": 8, "layers": 4, "cycle": 3}),
    ("pixelsnail", (3, 2, 3), {"width": 8, "layers": 2, "blocks": 1, "components": 2}),
]
ONE_ORDER = [case for case in ALL if case[2].get("masks", 1) == 1] + [
    ("made", (3, 2, 2), {"widths": [40], "order": Natural()})
]
WITH_DROPOUT = [case for case in ALL if case[0] not in ("made", "nade")]


def make(shape: tuple[int, ...], levels: int, gain: float = 3.0, **settings: Any) -> Autoregressive:
    """A small PixelCNN with random weights, the last layer's `gain` times larger than they begin."""
    model = made("pixelcnn", shape, levels, **SMALL | settings)
    model.network.out.conv.weight.data.mul_(gain)
    return model


TINY = [((1, 2, 2), 3), ((3, 1, 2), 2), ((2, 2, 2), 2), ((3, 2), 2)]


@pytest.mark.parametrize("shape, levels", TINY)
@pytest.mark.parametrize("inputs", [{}, EMBEDDED], ids=["scaled", "embedded"])
def test_probabilities_of_every_image_sum_to_one(shape, levels, inputs):
    p = make(shape, levels, **inputs).log_prob(every_code(shape, levels)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert p.max() > 1.5 * p.min()  # not the uniform model


@pytest.mark.parametrize("name, ends", [("scaled", (-1, 1)), ("fractions", (0, 1))])
@pytest.mark.parametrize("network", ["pixelcnn", "transformer", "nade"])
def test_pixels_enter_on_the_interval_that_is_named(name, ends, network):
    order = {"order": Natural()} if network == "nade" else {}
    model = made(network, (1, 2, 2), 5, noise=0.3, inputs=name, width=8, **order)
    assert model.network.inputs(torch.tensor([0, 4], dtype=torch.uint8)).flatten().tolist() == list(ends)
    assert model.log_prob(every_code((1, 2, 2), 5)).exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("shape, levels", [((1, 2, 2), 3), ((3, 1, 2), 2)])
def test_samples_have_the_models_frequencies(shape, levels):
    model, n = make(shape, levels, gain=6.0), 20_000
    expected = n * model.log_prob(every_code(shape, levels)).exp()
    with seeded(0):
        seen = frequencies(model.sample(n), levels)
    assert chi_square_fits(seen, expected)
    assert not chi_square_fits(torch.full_like(expected, n / len(expected)), expected)  # it can tell it from uniform


CAUSAL = [
    ((1, 7, 7), {"layers": 6}),
    ((3, 4, 4), {"first_kernel": 5}),
    ((2, 3, 5), {}),
    ((4, 3), EMBEDDED),
    ((3, 3, 4), EMBEDDED),
]


@pytest.mark.parametrize("shape, settings", CAUSAL)
def test_an_entry_depends_on_all_before_it_and_on_nothing_else(shape, settings):
    model = make(shape, 5, kernel=3, classes=10, **{"width": 24} | settings).double()
    x = torch.randint(5, (1, *shape), dtype=torch.uint8)
    assert is_causal(*dependences(model.network, x, 5, context_of(model, 1)), sees_all=True, floor=1e-14)


@pytest.mark.parametrize("shape, inputs", [((3, 5, 4), {}), ((2, 3, 4), EMBEDDED), ((4, 3), EMBEDDED)])
def test_the_cache_gives_the_logits_of_the_whole_pass(shape, inputs):
    model = make(shape, 7, classes=10, **inputs).double()
    assert cache_error(model.network, torch.randint(7, (2, *shape), dtype=torch.uint8), context_of(model, 2)) < 1e-12


@pytest.mark.parametrize(
    "shape, levels, settings",
    [
        ((1, 6, 5), 17, {}),
        ((1, 4, 4), 17, {"classes": 10}),
        ((3, 4, 4), 256, {"classes": 10}),
        ((2, 4, 3), 5, {"width": 9, **EMBEDDED}),
        ((4, 4), 300, EMBEDDED),
    ],
)
def test_cached_sampling_equals_the_naive_loop(shape, levels, settings):
    cached, naive = cached_and_naive(make(shape, levels, **settings), 3)
    assert torch.equal(cached, naive)
    assert cached.dtype == Symbols(shape=shape, levels=levels).code.dtype and cached.unique().numel() > 2


@pytest.mark.parametrize("name, shape, size", WITH_DROPOUT)
def test_sampling_is_without_dropout_even_in_training_mode(name, shape, size):
    model = made(name, shape, 17, dropout=0.5, **size)
    draws = []
    for training in (False, True):
        model.train(training)
        torch.manual_seed(1)
        draws.append(model.sample(4))
    assert torch.equal(*draws)
    x = torch.randint(17, (4, *shape), dtype=torch.uint8)
    assert not torch.equal(model.loss(x)["loss"], model.loss(x)["loss"])


@pytest.mark.parametrize("shape, levels", [((1, 4, 4), 17), ((3, 4, 4), 256), ((1, 4, 4), 2)])
def test_the_uniform_model_has_log2_levels_bits_per_dim(shape, levels):
    model = make(shape, levels)
    for weights in model.network.out.parameters():
        weights.data.zero_()
    x = torch.randint(levels, (5, *shape), dtype=torch.uint8)
    bits = bits_per_dim(-model.log_prob(x), prod(shape))
    torch.testing.assert_close(bits, torch.full((5,), log2(levels)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name, shape, size", ALL)
def test_labels_change_the_likelihood_and_are_ignored_where_unconditional(name, shape, size):
    x = torch.randint(17, (2, *shape), dtype=torch.uint8)
    a, b = {"label": torch.tensor([0, 1])}, {"label": torch.tensor([0, 2])}
    model = made(name, shape, 17, classes=10, noise=0.01, **size)
    changed = model.log_prob(x, a) != model.log_prob(x, b)
    assert changed.tolist() == [False, True]
    with pytest.raises(UserError, match="conditional on label"):
        model.log_prob(x)
    plain = made(name, shape, 17, **size)
    assert torch.equal(plain.log_prob(x, a), plain.log_prob(x))


@pytest.mark.parametrize("name, shape, size", ALL)
def test_loss_is_the_negative_log_likelihood_and_float32_under_bf16(name, shape, size):
    model = made(name, shape, 256, noise=0.01, **size)
    x = torch.randint(256, (3, *shape), dtype=torch.uint8)
    exact = -model.log_prob(x)
    torch.testing.assert_close(model.loss(x)["loss"], exact)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.loss(x)["loss"]
        assert model.sample(2).shape == (2, *shape)
    half.mean().backward()
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0.02, atol=0)
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_it_learns_a_pattern():
    x = torch.randint(2, (32, 1, 1, 1), dtype=torch.uint8).expand(32, 1, 4, 4).clone()
    model = make((1, 4, 4), 2, dropout=0.0)
    assert learns(model, x, steps=35, lr=2e-2) < log(2) + 0.1  # one bit an image, of 16
    assert (model.sample(32).flatten(1).float().std(1) == 0).float().mean() > 0.9


@pytest.mark.parametrize("name, shape, size", ALL)
def test_a_low_temperature_draws_likely_samples_and_stands_in_the_protocol(name, shape, size):
    model = made(name, shape, 17, noise=0.1, **size)
    if "components" in size:
        model.network.head.bias.data[8:14] = -3  # log-scales; else the outer values are the likeliest
    nats = []
    for temperature in (0.3, 1.0, 2.0):
        model.use(Direct(temperature=temperature, truncation=None))
        cached, naive = cached_and_naive(model, 64, temperature)
        assert torch.equal(cached, naive)
        assert model.sampling_protocol()["sampler_temperature"] == temperature
        nats.append(-model.log_prob(cached).mean())
    assert nats[0] < nats[1] < nats[2]
    with pytest.raises(UserError, match="truncation=0.5 means nothing to Autoregressive"):
        model.use(Direct(temperature=1.0, truncation=0.5))


@pytest.mark.parametrize("name, shape, size", ONE_ORDER)
def test_completions_keep_what_is_given_and_equal_the_naive_loop(name, shape, size):
    model = made(name, shape, 17, classes=10, noise=0.05, **size)
    torch.manual_seed(0)
    x, condition = torch.randint(17, (3, *shape), dtype=torch.uint8), {"label": torch.arange(3)}
    for given in (0, 1, model.sites // 2, model.sites):
        kept, drawn = model.network.order.flatten().tensor_split([given * model.network.order.shape[1]])
        torch.manual_seed(1)
        y = model.complete(x.long(), given, condition)
        torch.manual_seed(1)
        assert torch.equal(y, sample_naively(model, 3, condition, x=x, given=given))
        assert torch.equal(y.flatten(1)[:, kept], x.flatten(1)[:, kept]) and y.dtype == x.dtype
        assert not len(drawn) or not torch.equal(y.flatten(1)[:, drawn], x.flatten(1)[:, drawn])
    torch.manual_seed(1)
    drawn_from_nothing = model.complete(x, 0, condition)
    torch.manual_seed(1)
    assert torch.equal(drawn_from_nothing, model.sample(3, condition))


@pytest.mark.parametrize("name, shape, size", ONE_ORDER)
def test_the_rest_is_scored_by_the_chain_rule(name, shape, size):
    """log p(rest | given) = log Σ p over all that is given alike, by enumeration; nothing given: log p."""
    shape = (4,) if len(shape) == 1 else (1, 1, 4) if "scales" in size else (1, 2, 2)
    model = made(name, shape, 3, noise=0.2, **size | ({"scales": 1} if "scales" in size else {}))
    x = every_code(shape, 3)
    nats = model.log_prob(x)
    assert torch.equal(model.log_prob_rest(x, 0), nats)
    for given in range(1, 5):
        first = (x.flatten(1)[:, :given].long() * 3 ** torch.arange(given)).sum(1)
        marginal = torch.zeros(3**given).index_add(0, first, nats.exp())[first].log()
        torch.testing.assert_close(model.log_prob_rest(x, given), nats - marginal, atol=1e-5, rtol=0)


def test_completions_have_the_models_conditional_frequencies():
    model, n = make((1, 2, 2), 3, gain=6.0), 20_000
    x, every = torch.tensor([[[[2, 0], [0, 0]]]], dtype=torch.uint8), every_code((1, 2, 2), 3)
    alike = (every.flatten(1)[:, :2] == x.flatten(1)[:, :2]).all(1)
    expected = n * model.log_prob_rest(every[alike], 2).exp()
    with seeded(0):
        seen = frequencies(model.complete(x.expand(n, -1, -1, -1), 2), 3)
    assert seen[~alike].sum() == 0 and chi_square_fits(seen[alike], expected)
    assert expected.max() > 1.5 * expected.min()


@pytest.mark.parametrize("given", [-1, 17])
def test_more_than_there_is_cannot_be_given(given):
    model, x = make((1, 4, 4), 17), torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    for call in (model.complete, model.log_prob_rest):
        with pytest.raises(UserError, match=rf"given is {given} for samples of 16 sites, expected 0\.\.16"):
            call(x, given)


def test_a_mean_over_orders_completes_nothing():
    model = made("made", (1, 2, 2), 3, widths=[10], order=Natural(), masks=2)
    with pytest.raises(UserError, match="mean over several orders"):
        model.complete(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), 1)


class Pairs(Symbols):
    """Two neighbouring values as one symbol; which of the two it is has probability 1/2."""

    lossless = False

    def __init__(self, *, shape, levels):
        super().__init__(shape=shape, levels=levels)
        self.x = self.code._replace(levels=2 * levels)

    def encode(self, x, rng=None):
        return x // 2, torch.full((len(x),), -x[0].numel() * log(2))

    def decode(self, u, rng):
        return 2 * u + (rng.uniform(u.shape, u.device) < 0.5).to(u.dtype)


def test_codes_of_a_space_are_modelled_and_the_spaces_correction_counts():
    symbols = make((1, 2, 2), 2)
    space = Pairs(shape=(1, 2, 2), levels=2)
    model = Autoregressive(
        space=space,
        network=symbols.network,
        site_likelihood=symbols.site_likelihood,
        conditioner=symbols.conditioner,
        sampler=symbols.sampler,
    )
    assert (symbols.bound, model.bound) == ("exact", "elbo")
    x = every_code((1, 2, 2), 4)
    assert model.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert model.log_prob(x[:5], draws=3).shape == (3, 5)
    assert can(symbols, Completes) and not can(model, Completes)
    with pytest.raises(UserError, match="sites are those of codes"):
        model.complete(x, 1)
    assert set(model.sample(50).unique().tolist()) == {0, 1, 2, 3}


def test_settings_that_cannot_be_are_refused():
    settings = {
        "levels": 2,
        "context": {},
        "likelihood": Categorical(levels=2),
        "inputs": "scaled",
        "embedding_width": 1,
    }
    settings |= {"layers": 2, "head_width": 8, "dropout": 0.0}
    with pytest.raises(UserError, match="odd"):
        GatedPixelCNN(shape=(3, 4, 4), width=8, first_kernel=7, kernel=4, **settings)
    with pytest.raises(UserError, match="3 channels"):
        GatedPixelCNN(shape=(3, 4, 4), width=2, first_kernel=7, kernel=3, **settings)
    with pytest.raises(UserError, match=r"shape \[16\]"):
        GatedPixelCNN(shape=(16,), width=8, first_kernel=7, kernel=3, **settings)
    with pytest.raises(UserError, match="takes vector of a condition"):
        GatedPixelCNN(shape=(3, 4, 4), width=8, first_kernel=7, kernel=3, **settings | {"context": {"maps": 2}})


def test_the_papers_mnist_size_is_reachable_by_overrides():
    with torch.device("meta"):
        network = made("pixelcnn", (1, 28, 28), 2, width=128, layers=10).network
        params = network(torch.empty(1, 1, 28, 28, dtype=torch.uint8), NO_CONTEXT)
    assert params.shape == (1, 2, 28 * 28)
    assert sum(p.numel() for p in network.parameters()) > 5e6
