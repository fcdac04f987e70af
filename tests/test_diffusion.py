"""DDPM against its paper: schedules, every term of the bound, the denoiser."""

import math

import hydra
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from genmodels.errors import UserError
from genmodels.models.diffusion import DDPM
from genmodels.nn import discretized_gaussian
from genmodels.nn.schedules import Cosine, Linear
from genmodels.samplers.ancestral import Ancestral
from genmodels.samplers.ddim import DDIM
from genmodels.units import to_unit
from tests.helpers import compose_model

TINY = Linear(steps=3, beta_first=0.1, beta_last=0.5)


class Affine(nn.Module):
    """epsilon_theta(x, t) = 0.7x + 0.1t - 0.2 + y/10: wrong, so that no KL is 0."""

    def forward(self, x, t, y):
        label = 0 if y is None else y[:, None, None, None] / 10
        return 0.7 * x + 0.1 * t[:, None, None, None] - 0.2 + label


class Known(nn.Module):
    """epsilon of a denoiser that is known as a function D(x, sigma)."""

    def __init__(self, denoiser, schedule):
        super().__init__()
        self.denoiser = denoiser
        self.sigmas = schedule.sigmas().float()

    def forward(self, x, t, y):
        sigma = self.sigmas[t.long()][:, None, None, None]
        x = x * (1 + sigma**2).sqrt()
        return (x - self.denoiser(x, sigma)) / sigma


def ddpm(network, schedule, *, shape=(1, 1, 2), levels=5, objective="simple", variance="small", classes=None):
    return DDPM(
        shape=shape,
        levels=levels,
        classes=classes,
        conditional=classes is not None,
        network=network,
        schedule=schedule,
        objective=objective,
        variance=variance,
        sampler=Ancestral(steps=None, variance=variance),
    )


# --- schedules


def test_linear_alpha_bar_is_the_product_of_one_minus_beta():
    expected, product = [], 1.0
    for i in range(1000):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * i / 999)
        expected.append(product)
    alpha_bar = Linear(steps=1000, beta_first=1e-4, beta_last=0.02).alpha_bar()
    assert alpha_bar.dtype == torch.float64
    torch.testing.assert_close(alpha_bar, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=0)


def test_cosine_alpha_bar_is_the_squared_cosine_until_beta_is_clipped():
    schedule = Cosine(steps=50, offset=0.008, beta_max=0.999)
    f = [math.cos((t / 50 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(51)]
    expected = torch.tensor([f[t] / f[0] for t in range(1, 50)], dtype=torch.float64)
    torch.testing.assert_close(schedule.alpha_bar()[:-1], expected)
    assert schedule.betas()[-1] == 0.999 and schedule.sigmas().isfinite().all()


@pytest.mark.parametrize("steps, beta_last", [(1, 0.02), (0, 0.02), (10, 1.0), (10, -0.1)])
def test_impossible_schedules_are_refused(steps, beta_last):
    with pytest.raises(UserError, match="schedule"):
        Linear(steps=steps, beta_first=1e-4, beta_last=beta_last)


# --- the decoder


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("std", [0.007, 0.3, 3.0])
def test_decoder_sums_to_one_over_all_levels(levels, std):
    mean = torch.linspace(-1.5, 1.5, 31).expand(levels, -1)
    values = to_unit(torch.arange(levels).to(torch.uint8), levels)[:, None].expand(-1, 31)
    total = discretized_gaussian.log_prob(values, mean, std, levels).double().exp().sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=2e-5, atol=0)


def test_decoder_is_exact_far_from_the_mean_with_finite_gradients():
    mean = torch.full((256,), 0.93, requires_grad=True)
    values = to_unit(torch.arange(256).to(torch.uint8), 256)
    log_prob = discretized_gaussian.log_prob(values, mean, 0.02, 256)  # up to 96 standard deviations away
    log_prob.sum().backward()
    assert log_prob.isfinite().all() and mean.grad.isfinite().all()
    near = (values - 0.93).abs() < 0.15
    width = 1 / 255
    mass = Normal(0.93, 0.02).cdf
    exact = (mass((values + width).double()) - mass((values - width).double())).log().float()
    inner = near & (values < 1)
    torch.testing.assert_close(log_prob[inner], exact[inner], rtol=1e-3, atol=1e-4)


# --- the bound


def direct_bound(x, schedule, levels, variance, noises):
    """-(L_T + sum L_{t-1} + L_0) in the paper's own letters, float64; noises[t] belongs to index t."""
    beta, alpha_bar = schedule.betas(), schedule.alpha_bar()
    x0 = to_unit(x, levels).double()
    last = alpha_bar[-1]
    total = kl_divergence(Normal(last.sqrt() * x0, (1 - last).sqrt()), Normal(0.0, 1.0))
    tilde_1 = (1 - alpha_bar[0]) / (1 - alpha_bar[1]) * beta[1]
    for i in range(len(beta)):
        a, before = alpha_bar[i], alpha_bar[i - 1] if i > 0 else torch.ones((), dtype=torch.float64)
        x_t = a.sqrt() * x0 + (1 - a).sqrt() * noises[i]
        eps = Affine()(x_t, torch.full((len(x),), float(i)), None)
        x0_hat = ((x_t - (1 - a).sqrt() * eps) / a.sqrt()).clamp(-1, 1)
        if i == 0:
            p = Normal(x0_hat, tilde_1.sqrt())
            up = torch.where(x0 > 0.999, torch.inf, x0 + 1 / (levels - 1))
            down = torch.where(x0 < -0.999, -torch.inf, x0 - 1 / (levels - 1))
            total = total - (p.cdf(up) - p.cdf(down)).log()
            continue
        tilde = (1 - before) / (1 - a) * beta[i]
        to_x0, to_xt = before.sqrt() * beta[i] / (1 - a), (1 - beta[i]).sqrt() * (1 - before) / (1 - a)
        q = Normal(to_x0 * x0 + to_xt * x_t, tilde.sqrt())
        p = Normal(to_x0 * x0_hat + to_xt * x_t, (tilde if variance == "small" else beta[i]).sqrt())
        total = total + kl_divergence(q, p)
    return -total.flatten(1).sum(1)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_bound_equals_the_papers_terms_on_a_tiny_chain(variance):
    model = ddpm(Affine(), TINY, variance=variance)
    x = torch.cartesian_prod(torch.arange(5), torch.arange(5)).to(torch.uint8).view(25, 1, 1, 2)
    torch.manual_seed(0)
    bound = model.log_prob(x)
    torch.manual_seed(0)
    noises = {t: torch.randn(25, 1, 1, 2) for t in (2, 1, 0)}
    expected = direct_bound(x, TINY, 5, variance, noises)
    torch.testing.assert_close(bound, expected.float(), rtol=1e-4, atol=1e-4)


def test_large_variance_costs_more_where_the_denoiser_is_exact():
    x = torch.full((4, 1, 1, 2), 3, dtype=torch.uint8)
    known = Known(lambda x, sigma: torch.full_like(x, 0.5), TINY)
    small, large = (ddpm(known, TINY, variance=v).log_prob(x) for v in ("small", "large"))
    assert (large < small - 1e-3).all()


def posterior_mean(levels):
    points = torch.linspace(-1, 1, levels)

    def denoiser(x, sigma):
        weights = (-((x[..., None] - points) ** 2) / (2 * sigma[..., None] ** 2)).softmax(-1)
        return weights @ points

    return denoiser


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_bound_of_the_optimal_denoiser_is_nearly_the_entropy_of_uniform_data(schedule):
    choice = [f"model/schedule={schedule}", "model.schedule.steps=1000"]
    chain = hydra.utils.instantiate(compose_model("ddpm", *choice, sampler="ddim").model.schedule)
    model = ddpm(Known(posterior_mean(5), chain), chain, shape=(1, 1, 1))
    torch.manual_seed(0)
    x = torch.arange(5).repeat(400).to(torch.uint8).view(-1, 1, 1, 1)
    nats = -model.log_prob(x).mean().item()
    assert -0.02 < nats - math.log(5) < 0.11  # standard error 0.0125; the gap (cosine: 0.06) falls as 1/T


@pytest.mark.parametrize("variance", ["small", "large"])
def test_variational_loss_is_the_bound_without_its_constant(variance):
    known = Known(lambda x, sigma: 1.3 * torch.tanh(x), TINY)
    model = ddpm(known, TINY, objective="variational", variance=variance)
    x = torch.tensor([1, 4], dtype=torch.uint8).view(1, 1, 1, 2).expand(60_000, -1, -1, -1)
    torch.manual_seed(0)
    loss = model.loss(x)["loss"]
    bound = -model.log_prob(x) - model.prior_nats(to_unit(x[:1], 5))
    error = math.sqrt((loss.var() + bound.var()) / len(x))
    assert abs(loss.mean() - bound.mean()) < 4 * error and error < 0.02 * bound.mean()


@pytest.mark.parametrize("objective", ["simple", "variational"])
def test_gradients_are_finite_at_every_noise_level(objective):
    schedule = Cosine(steps=100, offset=0.008, beta_max=0.999)  # sigma up to thousands
    network = nn.Conv2d(1, 1, 1)
    nn.init.zeros_(network.weight)
    network.forward = lambda x, t, y: nn.Conv2d.forward(network, x)
    model = ddpm(network, schedule, objective=objective)
    torch.manual_seed(0)
    loss = model.loss(torch.randint(5, (2000, 1, 1, 2)).to(torch.uint8))["loss"]
    loss.mean().backward()
    assert loss.isfinite().all() and 0 < network.weight.grad.abs() < torch.inf


def test_simple_loss_is_the_noises_squared_error_per_dimension():
    model = ddpm(Affine(), TINY)
    x = torch.randint(5, (6, 1, 1, 2)).to(torch.uint8)
    torch.manual_seed(0)
    terms = model.loss(x)
    torch.manual_seed(0)
    t, eps = torch.randint(3, (6,)), torch.randn(6, 1, 1, 2)
    alpha_bar = TINY.alpha_bar().float()[t].view(6, 1, 1, 1)
    x_t = alpha_bar.sqrt() * to_unit(x, 5) + (1 - alpha_bar).sqrt() * eps
    expected = (eps - Affine()(x_t, t, None)).square().mean((1, 2, 3))
    torch.testing.assert_close(terms["loss"], expected)
    assert torch.equal(terms["loss"], terms["simple"])


# --- the denoiser


def test_denoiser_knows_the_time_of_every_training_level_and_of_those_between():
    schedule = Linear(steps=1000, beta_first=1e-4, beta_last=0.02)
    model, sigmas = ddpm(Affine(), schedule), schedule.sigmas()
    assert torch.equal(model.time(sigmas.float()), torch.arange(1000.0))
    between = model.time((sigmas[:-1] * sigmas[1:]).sqrt().float())
    torch.testing.assert_close(between, torch.arange(999) + 0.5, rtol=0, atol=1e-2)
    assert model.time(torch.tensor([1e-9, 1e9])).tolist() == [0, 999]


def test_denoiser_is_the_papers_estimate_clipped():
    model, x_t = ddpm(Affine(), TINY), torch.randn(64, 1, 1, 2)
    for i, (alpha_bar, sigma) in enumerate(zip(TINY.alpha_bar(), TINY.sigmas(), strict=True)):
        eps = Affine()(x_t, torch.full((64,), float(i)), None)
        expected = ((x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()).clamp(-1, 1)
        torch.testing.assert_close(model.denoise(x_t / alpha_bar.sqrt(), sigma, None), expected)


def test_labels_reach_the_network_in_loss_bound_and_samples():
    model = ddpm(Affine(), TINY, classes=10)
    x = torch.full((8, 1, 1, 2), 2, dtype=torch.uint8)

    def run(call, label):
        torch.manual_seed(0)
        return call(torch.full((8,), label))

    for call in (lambda y: model.loss(x, y)["loss"], lambda y: model.log_prob(x, y), lambda y: model.sample(8, y)):
        assert torch.equal(run(call, 3), run(call, 3)) and not torch.equal(run(call, 0), run(call, 9))
    with pytest.raises(UserError, match="labels"):
        model.log_prob(x)


def test_film_ends_in_the_sample_and_any_sampler_may_take_over():
    model = ddpm(Affine(), TINY)
    torch.manual_seed(0)
    *frames, last = model.film(4)
    torch.manual_seed(0)
    assert torch.equal(model.sample(4), last)
    assert len(frames) == 2 and last.dtype == torch.uint8 and last.shape == (4, 1, 1, 2)
    model.sampler = DDIM(steps=2, eta=0.0)
    assert len(list(model.film(4))) == 2
    model.sampler = DDIM(steps=4, eta=0.0)
    with pytest.raises(UserError, match="steps=4"):
        model.sample(4)
