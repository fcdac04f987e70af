"""PixelCNN++: the mixture of logistics is a distribution over pixels, and the strided network keeps its order."""

from decimal import Decimal, getcontext
from math import log, prod

import pytest
import torch
from torch import Tensor

from genmodels.errors import UserError
from genmodels.nn.causal.pixelcnnpp import PixelCNNPP
from genmodels.parts.site_likelihoods import Categorical, MixtureOfLogistics
from genmodels.seeds import GLOBAL, seeded
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

SMALL = {"width": 8, "scales": 2, "blocks": 1, "components": 3}


def parameters(likelihood: MixtureOfLogistics, n: int, spread: float) -> Tensor:
    torch.manual_seed(0)
    return spread * torch.randn(n, likelihood.n_params(likelihood.channels), 1)


def every_mass(likelihood: MixtureOfLogistics, params: Tensor) -> Tensor:
    """p of all pixels: (values, n)."""
    pixels = every_code((1, likelihood.channels), likelihood.levels)  # (values, s = 1, v)
    return torch.stack([likelihood.log_prob(params, pixel.expand(len(params), -1, -1))[:, 0].exp() for pixel in pixels])


@pytest.mark.parametrize("levels, channels", [(2, 1), (17, 1), (256, 1), (2, 3), (4, 3), (3, 2)])
@pytest.mark.parametrize("spread", [1.0, 5.0])
def test_masses_of_all_pixels_sum_to_one(levels, channels, spread):
    likelihood = MixtureOfLogistics(levels=levels, components=3, channels=channels)
    masses = every_mass(likelihood, parameters(likelihood, 20, spread))
    torch.testing.assert_close(masses.sum(0), torch.ones(20), rtol=2e-5, atol=0)


def exact_mass(x: int, mean: float, log_scale: float, levels: int) -> Decimal:
    """σ(upper) - σ(lower) with 120 digits."""
    getcontext().prec = 120
    at, half = Decimal(2 * x) / (levels - 1) - 1, Decimal(1) / (levels - 1)

    def cdf(edge: Decimal) -> Decimal:
        return 1 / (1 + (-(edge - Decimal(mean)) / Decimal(log_scale).exp()).exp())

    upper = Decimal(1) if x == levels - 1 else cdf(at + half)
    return upper - (Decimal(0) if x == 0 else cdf(at - half))


@pytest.mark.parametrize("x", [0, 1, 8, 15, 16])
@pytest.mark.parametrize("mean, log_scale", [(-0.3, -1.0), (0.9, -3.5), (-1.5, -4.5), (0.05, 6.0)])
def test_a_mass_is_exact_far_into_the_tails(x, mean, log_scale):
    likelihood = MixtureOfLogistics(levels=17, components=1, channels=1)
    params = torch.tensor([0.3, mean, log_scale]).view(1, 3, 1).requires_grad_()
    found = likelihood.log_prob(params, torch.tensor([[[x]]]))
    exact = float(exact_mass(x, params[0, 1, 0].item(), log_scale, 17).ln())
    assert found.item() == pytest.approx(exact, rel=2e-5, abs=2e-6)
    found.backward()
    assert params.grad.isfinite().all()


def test_channels_are_coupled_as_in_the_papers_equation():
    """With certain channels, green's mean moves with red, and blue's with both."""
    likelihood = MixtureOfLogistics(levels=5, components=1, channels=3)
    a, b, c = 0.5, -0.25, 0.75
    params = torch.tensor([0.0, -0.5, 0.25, 0.1, -7, -7, -7, *torch.tensor([a, b, c]).atanh()]).view(1, 10)
    red = -0.5
    green = 0.25 + a * red  # 0: the level in the middle
    blue = 0.1 + b * red + c * green  # 0.225: the same
    levels = [round((u + 1) * 2) for u in (red, green, blue)]
    assert likelihood.sample(params).tolist() == [levels] == [[1, 2, 2]]
    assert likelihood.log_prob(params[:, :, None], torch.tensor([[levels]])).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("levels, channels", [(8, 1), (3, 3)])
def test_samples_of_the_mixture_follow_its_masses(levels, channels):
    likelihood, n = MixtureOfLogistics(levels=levels, components=2, channels=channels), 20_000
    params = parameters(likelihood, 1, 0.7)
    expected = n * every_mass(likelihood, params)[:, 0]
    with seeded(1):
        seen = frequencies(likelihood.sample(params[:, :, 0].expand(n, -1)), levels)
    assert chi_square_fits(seen, expected)


def test_a_temperature_divides_logits_and_multiplies_scales():
    likelihood, t = MixtureOfLogistics(levels=256, components=2, channels=3), 0.5
    params = parameters(likelihood, 500, 1.0)[:, :, 0]
    changed = params.clone()
    changed[:, :2] /= t
    changed[:, 8:14] += log(t)
    torch.manual_seed(2)
    drawn = likelihood.sample(params, GLOBAL, temperature=t)
    torch.manual_seed(2)
    assert (drawn - likelihood.sample(changed)).abs().max() <= 1  # rounding
    assert drawn.min() >= 0 and drawn.max() <= 255


@pytest.mark.parametrize("shape, levels", [((1, 2, 2), 3), ((3, 1, 2), 2)])
def test_probabilities_of_every_image_sum_to_one(shape, levels):
    model = made("pixelcnnpp", shape, levels, noise=0.2, **SMALL | {"scales": 1 + (shape[1] > 1)})
    p = model.log_prob(every_code(shape, levels)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert p.max() > 1.5 * p.min()


def test_samples_have_the_models_frequencies():
    model, n = made("pixelcnnpp", (1, 2, 2), 2, noise=0.3, **SMALL), 4000
    expected = n * model.log_prob(every_code((1, 2, 2), 2)).exp()
    with seeded(0):
        assert chi_square_fits(frequencies(model.sample(n), 2), expected)


CAUSAL = [
    ((1, 6, 4), {"blocks": 2}),
    ((3, 4, 4), {"scales": 3}),
    ((2, 5, 3), {"scales": 1, "blocks": 3}),
    ((4, 4), {"inputs": "embedded", "embedding_width": 5, "components": None}),
]


@pytest.mark.parametrize("shape, settings", CAUSAL)
def test_a_pixel_depends_on_all_before_it_and_on_nothing_else(shape, settings):
    model = made("pixelcnnpp", shape, 5, classes=10, noise=0.1, **SMALL | settings).double()
    x = torch.randint(5, (1, *shape), dtype=torch.uint8)
    assert is_causal(*dependences(model.network, x, 5, context_of(model, 1)), sees_all=True)


@pytest.mark.parametrize("shape, settings", CAUSAL)
def test_the_cache_gives_the_parameters_of_the_whole_pass(shape, settings):
    model = made("pixelcnnpp", shape, 5, classes=10, noise=0.1, **SMALL | settings).double()
    assert cache_error(model.network, torch.randint(5, (2, *shape), dtype=torch.uint8), context_of(model, 2)) < 1e-11


@pytest.mark.parametrize("shape, classes", [((1, 4, 6), None), ((3, 4, 4), 10)])
def test_cached_sampling_equals_the_naive_loop(shape, classes):
    cached, naive = cached_and_naive(made("pixelcnnpp", shape, 17, classes=classes, noise=0.05, **SMALL), 3)
    assert torch.equal(cached, naive)
    assert cached.unique().numel() > 2


def test_it_learns_a_pattern():
    x = torch.randint(2, (16, 1, 1, 1), dtype=torch.uint8).expand(16, 1, 2, 4).clone()
    model = made("pixelcnnpp", (1, 2, 4), 2, dropout=0.0, **SMALL)
    assert learns(model, x, steps=30, lr=2e-2) < log(2) + 0.1  # one bit an image, of 8
    assert (model.sample(32).flatten(1).float().std(1) == 0).float().mean() > 0.9


def test_what_cannot_be_is_refused():
    settings = {
        "levels": 4,
        "context": {},
        "inputs": "scaled",
        "embedding_width": 1,
        "width": 4,
        "blocks": 1,
        "dropout": 0.0,
    }
    mixture, categorical = MixtureOfLogistics(levels=4, components=2, channels=3), Categorical(levels=4)
    with pytest.raises(UserError, match="scales=3 for images of 6x4"):
        PixelCNNPP(shape=(3, 6, 4), scales=3, likelihood=mixture, **settings)
    with pytest.raises(UserError, match="for sites of one value, and a site of this network has 3"):
        PixelCNNPP(shape=(3, 4, 4), scales=2, likelihood=categorical, **settings)
    with pytest.raises(UserError, match="for sites of 3 values, and a site of this network has 1"):
        PixelCNNPP(shape=(1, 4, 4), scales=2, likelihood=mixture, **settings)
    with pytest.raises(UserError, match=r"shape \[16\]"):
        PixelCNNPP(shape=(16,), scales=2, likelihood=mixture, **settings)
    assert prod(made("pixelcnnpp", (3, 4, 4), 4, **SMALL).network.order.shape) == 48
