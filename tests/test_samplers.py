"""Samplers against closed forms: data whose best denoiser is known, the papers' update rules, orders of convergence."""

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from genmodels.capabilities import Level
from genmodels.errors import UserError
from genmodels.parts.processes import Discrete, Straight, VarianceExploding
from genmodels.parts.schedules import Cosine, Linear
from genmodels.samplers.ancestral import Ancestral
from genmodels.samplers.ddim import DDIM
from genmodels.samplers.euler import Euler
from genmodels.samplers.heun import Heun

SCHEDULE = Linear(steps=1000, beta_first=1e-4, beta_last=0.02)
DDPM = Discrete(schedule=SCHEDULE)
NO_SIGNAL = Discrete(schedule=Cosine(steps=200, offset=0.008, beta_max=1.0))
EDM = VarianceExploding(sigma_min=0.002, sigma_max=80.0, rho=7.0)
MEAN, STD = 0.3, 0.4
PLAIN = {"guidance": 1.0, "guidance_interval": None, "clip": True}


def ancestral(steps, variance):
    return Ancestral(steps=steps, variance=variance, **PLAIN)


def ddim(steps, eta):
    return DDIM(steps=steps, eta=eta, **PLAIN)


def euler(steps):
    return Euler(steps=steps, **PLAIN)


def heun(steps, churn=0.0, noise=1.0, low=0.0, high=1e9):
    return Heun(steps=steps, churn=churn, churn_min=low, churn_max=high, churn_noise=noise, **PLAIN)


def gaussian(x, level):
    """D(x, level) of data N(MEAN, STD²)."""
    gain = level.alpha * STD**2 / ((level.alpha * STD) ** 2 + level.sigma**2)
    return MEAN + gain * (x - level.alpha * MEAN)


def mixture(level):
    """p(x_t) of data that is N(-1, 0.3²) with probability 0.3, else N(0.8, 0.5²)."""
    means, stds = torch.tensor([-1.0, 0.8]).double(), torch.tensor([0.3, 0.5]).double()
    stds = ((level.alpha * stds) ** 2 + level.sigma**2).sqrt()
    return MixtureSameFamily(Categorical(torch.tensor([0.3, 0.7]).double()), Normal(level.alpha * means, stds))


def of_mixture(x, level):
    """D(x, level) of that mixture, from its score by Tweedie's formula where there is signal."""
    means, stds = torch.tensor([-1.0, 0.8]).double(), torch.tensor([0.3, 0.5]).double()
    parts = mixture(level)
    weights = (parts.mixture_distribution.logits + parts.component_distribution.log_prob(x[..., None])).softmax(-1)
    gain = level.alpha * stds**2 / ((level.alpha * stds) ** 2 + level.sigma**2)
    return (weights * (means + gain * (x[..., None] - level.alpha * means))).sum(-1)


def two_points(x, level):
    """D(x, level) of data that is -0.5 with probability 0.3, else 0.5."""
    return 0.5 * torch.tanh(0.5 * level.alpha * x / level.sigma**2 + 0.5 * math.log(0.7 / 0.3))


def start(n, process=DDPM, seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    return torch.randn(n, 1, 1, 1, dtype=dtype) * process.start


def frames(sampler, denoiser, noise, process=DDPM, seed=1):
    torch.manual_seed(seed)
    return torch.stack(list(sampler(denoiser, noise, process.grid(sampler.steps))))


def final(*args, **kwargs):
    return frames(*args, **kwargs)[-1]


# --- levels


def test_levels_of_steps_run_from_the_last_to_the_first_and_then_to_clean_data():
    alpha_bar = SCHEDULE.alpha_bar()
    for steps, expected in [(None, list(range(999, -1, -1))), (1, [999]), (2, [999, 0]), (4, [999, 666, 333, 0])]:
        *visited, clean = DDPM.grid(steps)
        assert [level.alpha.item() for level in visited] == alpha_bar.sqrt()[expected].tolist()
        assert [level.sigma.item() for level in visited] == (1 - alpha_bar).sqrt()[expected].tolist()
        assert clean == (1, 0) and clean.alpha.dtype == torch.float64


@pytest.mark.parametrize("total", [2, 3, 7, 100])
def test_any_number_of_steps_visits_distinct_ones_and_both_ends(total):
    process = Discrete(schedule=Linear(steps=total, beta_first=0.01, beta_last=0.02))
    indices = {sigma.item(): i for i, sigma in enumerate(process.table.sigma)}
    for steps in range(2, total + 1):
        visited = [indices[level.sigma.item()] for level in process.grid(steps)[:-1]]
        gaps = {a - b for a, b in zip(visited[:-1], visited[1:], strict=True)}
        assert len(visited) == steps and visited[0] == total - 1 and visited[-1] == 0
        assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 1


def test_levels_of_edm_and_of_straight_lines_are_the_papers():
    n, rho = 18, 7.0
    expected = [(80 ** (1 / rho) + i / (n - 1) * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho for i in range(n)] + [0]
    assert [level.sigma.item() for level in EDM.grid(n)] == pytest.approx(expected)
    assert all(level.alpha == 1 for level in EDM.grid(n)) and EDM.grid(1)[0].sigma == pytest.approx(80)
    assert [level.sigma.item() for level in Straight().grid(4)] == [1, 0.75, 0.5, 0.25, 0]
    assert [level.alpha.item() for level in Straight().grid(4)] == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("process, steps", [(DDPM, 0), (DDPM, 1001), (EDM, None), (Straight(), None)])
def test_steps_that_a_process_does_not_have_are_refused(process, steps):
    with pytest.raises(UserError, match="sampler.steps"):
        process.grid(steps)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ddim(10, eta=1.5),
        lambda: euler(0),
        lambda: heun(10, churn=-1.0),
        lambda: heun(10, low=2.0, high=1.0),
        lambda: Euler(steps=10, guidance=2.0, guidance_interval=[3.0, 1.0], clip=True),
    ],
)
def test_settings_outside_their_range_are_refused(make):
    with pytest.raises(UserError, match="sampler"):
        make()


# --- the papers' updates


@pytest.mark.parametrize("steps", [1000, 13])
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ancestral_steps_are_algorithm_2(steps, variance):
    """On the scale y = x_t/alpha_t, with s the next level: y <- x_0 + s²/sigma² (y - x_0) + sqrt(v) z."""
    noise = start(16, dtype=torch.float64)
    levels = DDPM.grid(steps)
    sigmas = [level.sigma / level.alpha for level in levels]
    y, expected = noise / levels[0].alpha, []
    torch.manual_seed(1)
    for sigma, s in zip(sigmas[:-1], sigmas[1:], strict=True):
        x0 = (STD**2 * y + sigma**2 * MEAN) / (STD**2 + sigma**2)
        expected.append(x0)
        if variance == "small":
            v = s**2 * (sigma**2 - s**2) / sigma**2
        else:
            v = (1 + s**2) * (sigma**2 - s**2) / (1 + sigma**2)
        y = x0 + (s / sigma) ** 2 * (y - x0) + v.sqrt() * torch.randn(y.shape).double()
    found = frames(ancestral(steps, variance), gaussian, noise)
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_steps_are_equation_12_on_the_scale_of_x_over_alpha(eta):
    """y <- x_0 + sqrt(s² - v) (y - x_0)/sigma + sqrt(v) z with v = eta² s² (sigma² - s²)/sigma²."""
    noise = start(16, dtype=torch.float64)
    levels = DDPM.grid(50)
    sigmas = [level.sigma / level.alpha for level in levels]
    y, expected = noise / levels[0].alpha, []
    torch.manual_seed(1)
    for sigma, s in zip(sigmas[:-1], sigmas[1:], strict=True):
        x0 = (STD**2 * y + sigma**2 * MEAN) / (STD**2 + sigma**2)
        expected.append(x0)
        v = eta**2 * s**2 * (sigma**2 - s**2) / sigma**2
        y = (
            x0
            + (s**2 - v).sqrt() * (y - x0) / sigma
            + (v.sqrt() * torch.randn(y.shape).double() if eta and s > 0 else 0)
        )
    torch.testing.assert_close(frames(ddim(50, eta), gaussian, noise), torch.stack(expected), rtol=0, atol=1e-12)


def textbook(x_t, eps, z, i, variance):
    """Algorithm 2 of DDPM: x_{t-1} = (x_t - beta_t/sqrt(1 - alpha_bar_t) eps)/sqrt(alpha_t) + sigma_t z."""
    beta, alpha_bar = SCHEDULE.betas(), SCHEDULE.alpha_bar()
    tilde = (1 - alpha_bar[i - 1]) / (1 - alpha_bar[i]) * beta[i]
    sigma_t = (tilde if variance == "small" else beta[i]).sqrt()
    return (x_t - beta[i] / (1 - alpha_bar[i]).sqrt() * eps) / (1 - beta[i]).sqrt() + sigma_t * z


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("i", [1, 10, 500, 999])
def test_an_ancestral_step_is_the_papers_in_its_own_letters(i, variance):
    x, seen = start(16, dtype=torch.float64), []
    levels = DDPM.grid(None)[999 - i :]

    def spy(x, level):
        seen.append(x)
        return gaussian(x, level)

    torch.manual_seed(3)
    list(ancestral(None, variance)(spy, x, levels))
    torch.manual_seed(3)
    z = torch.randn(x.shape).double()
    eps = (x - levels[0].alpha * gaussian(x, levels[0])) / levels[0].sigma
    torch.testing.assert_close(seen[1], textbook(x, eps, z, i, variance))


@pytest.mark.parametrize("process", [DDPM, EDM, Straight()])
def test_ddim_with_eta_one_is_ancestral_sampling_and_with_eta_zero_is_euler(process):
    x = start(8, process, dtype=torch.float64)
    pairs = [(ddim(20, 1.0), ancestral(20, "small")), (ddim(20, 0.0), euler(20))]
    for one, other in pairs:
        torch.testing.assert_close(frames(one, two_points, x, process), frames(other, two_points, x, process))


def test_heun_is_edms_algorithm_2():
    """On alpha = 1, with d = (x - D)/sigma."""
    churn, noise, low, high, n = 10.0, 1.01, 0.05, 50.0, 9
    x = x_start = start(8, EDM, dtype=torch.float64)
    sigmas, expected = [level.sigma for level in EDM.grid(n)], []
    one = torch.ones(()).double()
    torch.manual_seed(1)
    for sigma, s in zip(sigmas[:-1], sigmas[1:], strict=True):
        gamma = min(churn / n, math.sqrt(2) - 1) if low <= sigma <= high else 0.0
        hat = sigma + gamma * sigma
        x = x + (hat**2 - sigma**2).sqrt() * noise * torch.randn(x.shape).double() if gamma else x
        denoised = gaussian(x, Level(one, hat))
        expected.append(denoised)
        d = (x - denoised) / hat
        x_next = x + (s - hat) * d
        if s > 0:
            x_next = x + (s - hat) * (d / 2 + (x_next - gaussian(x_next, Level(one, s))) / s / 2)
        x = x_next
    found = frames(heun(n, churn, noise, low, high), gaussian, x_start, EDM)
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-12)
    torch.testing.assert_close(found[-1], x, rtol=0, atol=1e-12)


# --- orders of convergence


def exact(x, level):
    """Where the probability flow of the mixture takes x_t at t = 0: in one dimension it keeps the quantile."""
    quantile, clean = mixture(level).cdf(x), mixture(Level(torch.ones(()).double(), torch.zeros(()).double()))
    low, high = torch.full_like(x, -20), torch.full_like(x, 20)
    for _ in range(80):
        middle = (low + high) / 2
        below = clean.cdf(middle) < quantile
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return low


@pytest.mark.parametrize("process", [EDM, Straight()], ids=["variance exploding", "straight"])
@pytest.mark.parametrize("sampler, order", [(heun, 2), (euler, 1)])
def test_heun_converges_at_second_order_and_euler_at_first(process, sampler, order):
    first = process.grid(2)[0]
    x = torch.linspace(-1.5, 1.5, 30).double() * process.start
    right = exact(x, first)
    errors = [(final(sampler(n), of_mixture, x, process) - right).abs().mean() for n in (40, 80, 160)]
    rates = [math.log2(errors[i] / errors[i + 1]) for i in (0, 1)]
    assert rates == pytest.approx([order, order], abs=0.25), rates


def test_deterministic_ddim_converges_to_the_probability_flow():
    x, first = start(100, dtype=torch.float64), DDPM.grid(None)[0]
    right = MEAN + (x - first.alpha * MEAN) * STD / ((first.alpha * STD) ** 2 + first.sigma**2).sqrt()
    errors = [(final(ddim(n, 0.0), gaussian, x) - right).abs().max().item() for n in (10, 100, 1000)]
    assert errors[1] < errors[0] / 5 and errors[2] < errors[1] / 5 and errors[2] < 5e-3


# --- distributions


def assert_moments(x, tolerance):
    assert x.isfinite().all() and x.dtype == torch.float32
    assert abs(x.mean() - MEAN) < tolerance and abs(x.std() - STD) < tolerance, (x.mean(), x.std())


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("schedule", [SCHEDULE, Cosine(steps=1000, offset=0.008, beta_max=0.999)])
def test_ancestral_sampling_reproduces_a_gaussian(schedule, variance):
    x = final(ancestral(None, variance), gaussian, start(20_000), Discrete(schedule=schedule))
    assert_moments(x, 0.012)  # 4 standard errors


@pytest.mark.parametrize("process", [EDM, Straight(), DDPM], ids=["variance exploding", "straight", "steps"])
@pytest.mark.parametrize("churn", [10.0, 1e9])
def test_churn_keeps_the_distribution(process, churn):
    assert_moments(final(heun(50, churn), gaussian, start(20_000, process), process), 0.012)


def test_churn_with_too_much_noise_widens_the_distribution():
    assert final(heun(50, 1e9, noise=1.2), gaussian, start(20_000, EDM), EDM).std() > STD + 0.02


@pytest.mark.parametrize(
    "sampler", [ancestral(200, "small"), ancestral(200, "large"), ddim(200, 0.0), ddim(200, 0.5), euler(200), heun(50)]
)
@pytest.mark.parametrize("process", [Straight(), NO_SIGNAL], ids=["straight", "steps"])
def test_every_sampler_starts_where_there_is_no_signal(process, sampler):
    assert process.grid(sampler.steps)[0].alpha == 0
    assert_moments(final(sampler, gaussian, start(20_000, process), process), 0.02)


@pytest.mark.parametrize("sampler", [ancestral(200, "small"), ddim(200, 0.0), heun(100)])
def test_samplers_reproduce_two_points(sampler):
    x = final(sampler, two_points, start(20_000))
    assert ((x.abs() - 0.5).abs() < 1e-3).float().mean() > 0.995
    assert abs((x > 0).float().mean() - 0.7) < 0.02


@pytest.mark.parametrize("sampler", [ddim(10, 0.0), euler(10), heun(10)])
def test_deterministic_samplers_draw_nothing_that_matters(sampler):
    x = start(5)
    assert torch.equal(final(sampler, gaussian, x, seed=1), final(sampler, gaussian, x, seed=2))
