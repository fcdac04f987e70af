"""Samplers against closed forms: data whose best denoiser is known, and the papers' own update rules."""

import math

import pytest
import torch

from genmodels.errors import UserError
from genmodels.nn.schedules import Cosine, Linear
from genmodels.samplers.ancestral import Ancestral
from genmodels.samplers.ddim import DDIM
from genmodels.samplers.steps import descend

SCHEDULE = Linear(steps=1000, beta_first=1e-4, beta_last=0.02)
MEAN, STD = 0.3, 0.4


def gaussian(x, sigma):
    """D(x, sigma) of data N(MEAN, STD²)."""
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


def two_points(x, sigma):
    """D(x, sigma) of data that is -0.5 with probability 0.3, else 0.5."""
    return 0.5 * torch.tanh(0.5 * x / sigma**2 + 0.5 * math.log(0.7 / 0.3))


def start(n, sigmas, seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    return torch.randn(n, 1, 1, 1, dtype=dtype) * (1 + sigmas[-1] ** 2).sqrt()


def final(sampler, denoiser, noise, sigmas, seed=1):
    torch.manual_seed(seed)
    return list(sampler(denoiser, noise, sigmas))[-1]


# --- levels


def test_levels_run_from_the_last_to_the_first_and_then_to_zero():
    sigmas = SCHEDULE.sigmas()
    for steps, expected in [(None, list(range(999, -1, -1))), (1, [999]), (2, [999, 0]), (4, [999, 666, 333, 0])]:
        pairs = descend(sigmas, steps)
        assert [sigma.item() for sigma, _ in pairs] == sigmas[expected].tolist()
        assert [s.item() for _, s in pairs] == [*sigmas[expected[1:]].tolist(), 0.0]


@pytest.mark.parametrize("total", [2, 3, 7, 100])
def test_any_number_of_levels_visits_distinct_ones_and_both_ends(total):
    sigmas = torch.arange(1, total + 1, dtype=torch.float64)
    for steps in range(2, total + 1):
        visited = [sigma.item() for sigma, _ in descend(sigmas, steps)]
        gaps = {a - b for a, b in zip(visited[:-1], visited[1:], strict=True)}
        assert len(visited) == steps and visited[0] == total and visited[-1] == 1
        assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_more_steps_than_the_model_has_are_refused(steps):
    sigmas = SCHEDULE.sigmas()
    for sampler in (DDIM(steps=steps, eta=0.0), Ancestral(steps=steps, variance="small")):
        with pytest.raises(UserError, match=f"steps={steps}"):
            next(iter(sampler(gaussian, start(1, sigmas), sigmas)))


def test_eta_outside_its_range_is_refused():
    with pytest.raises(UserError, match="eta"):
        DDIM(steps=10, eta=1.5)


# --- the papers' updates, on the scale of x_t


def textbook(x_t, eps, z, i, variance):
    """Algorithm 2 of DDPM: x_{t-1} = (x_t - beta_t/sqrt(1 - alpha_bar_t) eps)/sqrt(alpha_t) + sigma_t z."""
    beta, alpha_bar = SCHEDULE.betas(), SCHEDULE.alpha_bar()
    tilde = (1 - alpha_bar[i - 1]) / (1 - alpha_bar[i]) * beta[i]
    sigma_t = (tilde if variance == "small" else beta[i]).sqrt()
    return (x_t - beta[i] / (1 - alpha_bar[i]).sqrt() * eps) / (1 - beta[i]).sqrt() + sigma_t * z


def two_estimates(sampler, x, sigmas):
    """Where the sampler stands after its first step, and the noise it drew: what its second call is given."""
    seen = []

    def spy(x, sigma):
        seen.append(x)
        return gaussian(x, sigma)

    torch.manual_seed(3)
    list(sampler(spy, x, sigmas))
    torch.manual_seed(3)
    return seen[1], torch.randn(x.shape).double()


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("i", [1, 10, 500, 999])
def test_ancestral_step_is_the_papers(i, variance):
    sigmas, alpha_bar = SCHEDULE.sigmas()[: i + 1], SCHEDULE.alpha_bar()
    x = start(16, sigmas, dtype=torch.float64)
    after, z = two_estimates(Ancestral(steps=None, variance=variance), x, sigmas)
    eps = (x - gaussian(x, sigmas[i])) / sigmas[i]
    expected = textbook(alpha_bar[i].sqrt() * x, eps, z, i, variance)
    torch.testing.assert_close(alpha_bar[i - 1].sqrt() * after, expected)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_step_is_the_papers(eta):
    chosen = [0, 333, 666, 999]
    sigmas, alpha_bar = SCHEDULE.sigmas(), SCHEDULE.alpha_bar()[chosen]
    x = start(16, sigmas, dtype=torch.float64)
    after, z = two_estimates(DDIM(steps=4, eta=eta), x, sigmas)
    a, b = alpha_bar[3], alpha_bar[2]  # of this level and the next
    x0 = gaussian(x, sigmas[-1])
    eps = (a.sqrt() * x - a.sqrt() * x0) / (1 - a).sqrt()
    noise = eta * ((1 - b) / (1 - a)).sqrt() * (1 - a / b).sqrt()
    expected = b.sqrt() * x0 + (1 - b - noise**2).sqrt() * eps + noise * z
    torch.testing.assert_close(b.sqrt() * after, expected)


def test_ddim_with_eta_one_is_ancestral_sampling_step_for_step():
    sigmas = Linear(steps=100, beta_first=1e-3, beta_last=0.2).sigmas()
    x = start(8, sigmas, dtype=torch.float64)
    for steps in (100, 13):
        torch.manual_seed(1)
        ddim = torch.stack(list(DDIM(steps=steps, eta=1.0)(two_points, x, sigmas)))
        torch.manual_seed(1)
        ancestral = torch.stack(list(Ancestral(steps=steps, variance="small")(two_points, x, sigmas)))
        torch.testing.assert_close(ddim, ancestral)


# --- distributions


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("schedule", [SCHEDULE, Cosine(steps=1000, offset=0.008, beta_max=0.999)])
def test_ancestral_sampling_reproduces_a_gaussian(schedule, variance):
    sigmas = schedule.sigmas()
    x = final(Ancestral(steps=None, variance=variance), gaussian, start(20_000, sigmas), sigmas)
    assert x.dtype == torch.float32
    assert abs(x.mean() - MEAN) < 0.012 and abs(x.std() - STD) < 0.012  # 4 standard errors


@pytest.mark.parametrize("sampler", [Ancestral(steps=200, variance="small"), DDIM(steps=200, eta=0.0)])
def test_samplers_reproduce_two_points(sampler):
    sigmas = SCHEDULE.sigmas()
    x = final(sampler, two_points, start(20_000, sigmas), sigmas)
    assert ((x.abs() - 0.5).abs() < 1e-3).float().mean() > 0.995
    assert abs((x > 0).float().mean() - 0.7) < 0.02


def test_deterministic_ddim_converges_to_the_probability_flow():
    sigmas = SCHEDULE.sigmas()
    x = start(100, sigmas, dtype=torch.float64)
    exact = MEAN + (x - MEAN) * STD / (STD**2 + sigmas[-1] ** 2).sqrt()
    errors = [(final(DDIM(steps=n, eta=0.0), gaussian, x, sigmas) - exact).abs().max().item() for n in (10, 100, 1000)]
    assert errors[1] < errors[0] / 5 and errors[2] < errors[1] / 5 and errors[2] < 5e-3


def test_deterministic_ddim_draws_nothing_that_matters():
    sigmas = SCHEDULE.sigmas()
    x = start(5, sigmas)
    sampler = DDIM(steps=10, eta=0.0)
    assert torch.equal(final(sampler, gaussian, x, sigmas, seed=1), final(sampler, gaussian, x, sigmas, seed=2))
