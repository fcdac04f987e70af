"""PixelSNAIL: a distribution over images, causal, attending to all earlier pixels, with an exact cache."""

from math import log

import pytest
import torch

from genmodels.errors import UserError
from genmodels.nn.causal.pixelsnail import PixelSNAIL
from genmodels.nn.causal.pixelsnail_layers import attend_to_earlier
from genmodels.parts.site_likelihoods import Categorical, MixtureOfLogistics
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

SMALL = {"width": 8, "layers": 2, "blocks": 1, "key_width": 4, "components": 3}
EMBEDDED = {"inputs": "embedded", "embedding_width": 5, "components": None}


@pytest.mark.parametrize("shape, levels, settings", [((1, 2, 2), 3, {}), ((3, 1, 2), 2, {}), ((2, 2), 3, EMBEDDED)])
def test_probabilities_of_every_image_sum_to_one(shape, levels, settings):
    model = made("pixelsnail", shape, levels, noise=0.2, **SMALL | settings)
    p = model.log_prob(every_code(shape, levels)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert p.max() > 1.5 * p.min()


def test_samples_have_the_models_frequencies():
    model, n = made("pixelsnail", (1, 2, 2), 2, noise=0.3, **SMALL), 4000
    expected = n * model.log_prob(every_code((1, 2, 2), 2)).exp()
    with seeded(0):
        assert chi_square_fits(frequencies(model.sample(n), 2), expected)


CASES = [
    ((1, 6, 4), {"blocks": 2}),
    ((3, 4, 4), {"layers": 1}),
    ((2, 5, 3), {"layers": 3}),
    ((4, 4), EMBEDDED),
]


@pytest.mark.parametrize("shape, settings", CASES)
def test_a_pixel_depends_on_all_before_it_and_on_nothing_else(shape, settings):
    model = made("pixelsnail", shape, 5, classes=10, noise=0.1, **SMALL | settings).double()
    x = torch.randint(5, (1, *shape), dtype=torch.uint8)
    assert is_causal(*dependences(model.network, x, 5, context_of(model, 1)), sees_all=True)


def test_only_attention_sees_far():
    """With one layer and one resnet the convolutions reach few pixels; without its values the others are not seen."""
    model = made("pixelsnail", (1, 6, 6), 5, noise=0.1, **SMALL | {"layers": 1}).double()
    with torch.no_grad():
        model.network.layers[0].merged.beside.weight.zero_()
    moved, order = dependences(model.network, torch.randint(5, (1, 1, 6, 6)), 5, context_of(model, 1))
    assert is_causal(moved, order, sees_all=False)
    rows = sum(moved[35, 6 * row : 6 * row + 6].gt(1e-13).any().item() for row in range(6))
    assert rows == 4  # its own, one up by the first convolution, and two by the resnet's two


@pytest.mark.parametrize("shape, settings", CASES)
def test_the_cache_gives_the_parameters_of_the_whole_pass(shape, settings):
    model = made("pixelsnail", shape, 5, classes=10, noise=0.1, **SMALL | settings).double()
    assert cache_error(model.network, torch.randint(5, (2, *shape), dtype=torch.uint8), context_of(model, 2)) < 1e-11


@pytest.mark.parametrize("shape, classes", [((1, 4, 6), None), ((3, 4, 4), 10), ((1, 1, 1), None)])
def test_cached_sampling_equals_the_naive_loop(shape, classes):
    cached, naive = cached_and_naive(made("pixelsnail", shape, 17, classes=classes, noise=0.05, **SMALL), 3)
    assert torch.equal(cached, naive)


def test_attention_is_a_mean_of_earlier_values_by_the_softmax():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 5, d).double() for d in (4, 4, 3))
    found = attend_to_earlier(q, k, v)
    assert not found[:, 0].any()
    for i in range(1, 5):
        weights = ((q[:, i : i + 1] @ k[:, :i].mT) / 2).softmax(2)  # √4
        torch.testing.assert_close(found[:, i : i + 1], weights @ v[:, :i])


def test_it_learns_a_pattern():
    x = torch.randint(2, (16, 1, 1, 1), dtype=torch.uint8).expand(16, 1, 2, 4).clone()
    model = made("pixelsnail", (1, 2, 4), 2, dropout=0.0, **SMALL)
    assert learns(model, x, steps=30, lr=2e-2) < log(2) + 0.1  # one bit an image, of 8
    assert (model.sample(32).flatten(1).float().std(1) == 0).float().mean() > 0.9


def test_what_cannot_be_is_refused():
    settings = {"levels": 4, "context": {}, "inputs": "scaled", "embedding_width": 1, "dropout": 0.0}
    settings |= {"width": 8, "layers": 1, "blocks": 1, "key_width": 4}
    mixture, categorical = MixtureOfLogistics(levels=4, components=2, channels=3), Categorical(levels=4)
    with pytest.raises(UserError, match="for sites of one value, and a site of this network has 3"):
        PixelSNAIL(shape=(3, 4, 4), likelihood=categorical, **settings)
    with pytest.raises(UserError, match=r"PixelSNAIL takes images .* shape \[16\]"):
        PixelSNAIL(shape=(16,), likelihood=mixture, **settings)
    with pytest.raises(UserError, match="PixelSNAIL takes vector of a condition"):
        PixelSNAIL(shape=(3, 4, 4), likelihood=mixture, **settings | {"context": {"maps": 3}})
