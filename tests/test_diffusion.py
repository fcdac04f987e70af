"""Diffusion against its papers: schedules, processes, parametrizations, losses, the bound's terms, the denoiser."""

import math

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn
from torch.distributions import Normal, kl_divergence

from genmodels.capabilities import HasLikelihood, HasLoss, Level, can, why_not
from genmodels.context import NO_CONTEXT, Unconditional
from genmodels.errors import UserError
from genmodels.models.diffusion import Diffusion
from genmodels.parts import discretized_gaussian
from genmodels.parts.conditioners import Label
from genmodels.parts.parametrizations import EDM, Data, FlowVelocity, Noise, Velocity
from genmodels.parts.processes import Discrete, Straight, VarianceExploding
from genmodels.parts.schedules import Cosine, Linear, Schedule
from genmodels.parts.scorers import Variational
from genmodels.parts.spaces import Pixels, Standardized
from genmodels.parts.times import LogitNormal, LogNormal, Steps, Uniform
from genmodels.parts.weightings import MinSNR, Simple
from genmodels.parts.weightings import Variational as VariationalLoss
from genmodels.samplers.ancestral import Ancestral
from genmodels.samplers.ddim import DDIM
from genmodels.seeds import GLOBAL
from genmodels.units import to_unit
from tests.helpers import CONFIGS, build_model, compose_model

TINY = Linear(steps=3, beta_first=0.1, beta_last=0.5)
PLAIN = {"guidance": 1.0, "guidance_interval": None, "clip": True}
PARAMETRIZATIONS = [
    Noise(time_scale=1.0),
    Data(time_scale=1.0),
    Velocity(time_scale=1.0),
    FlowVelocity(time_scale=1.0),
    EDM(sigma_data=0.5, time_scale=1.0),
]
PROCESSES = [
    Discrete(schedule=TINY),
    VarianceExploding(sigma_min=0.002, sigma_max=80.0, rho=7.0),
    Straight(),
]


class Affine(nn.Module):
    """epsilon_theta(x, t) = 0.7x + 0.1t - 0.2 + y/10: wrong, so that no KL is 0."""

    def forward(self, x, t, context):
        label = 0 if context.vector is None else context.vector.argmax(1)[:, None, None, None] / 10
        return 0.7 * x + 0.1 * t[:, None, None, None] - 0.2 + label


class Known(nn.Module):
    """epsilon of a denoiser that is known as a function D(x, sigma) of x = x_0 + sigma eps."""

    def __init__(self, denoiser, schedule):
        super().__init__()
        self.denoiser = denoiser
        self.sigmas = Discrete(schedule=schedule).ratio

    def forward(self, x, t, context):
        sigma = self.sigmas[t.long()][:, None, None, None]
        x = x * (1 + sigma**2).sqrt()
        return (x - self.denoiser(x, sigma)) / sigma


def ddpm(
    network,
    schedule,
    *,
    shape=(1, 1, 2),
    levels=5,
    objective="simple",
    variance="small",
    classes=None,
    clip=True,
    **parts,
):
    process = Discrete(schedule=schedule)
    defaults = {
        "space": Pixels(shape=shape, levels=levels),
        "process": process,
        "parametrization": Noise(time_scale=1.0),
        "times": Steps(),
        "weighting": VariationalLoss(process=process, variance=variance) if objective == "variational" else Simple(),
        "conditioner": label(classes) if classes else Unconditional(sizes={}),
        "scorer": Variational(process=process, variance=variance, clip=clip),
        "sampler": Ancestral(steps=None, variance=variance, **PLAIN),
    }
    return Diffusion(network=network, **(defaults | parts))


def label(classes, drop=0.0):
    return Label(classes=classes, sizes={"vector": classes + 1}, drop=drop)


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
    assert schedule.betas()[-1] == 0.999 and schedule.alpha_bar().min() > 0


@pytest.mark.parametrize("steps, beta_last", [(1, 0.02), (0, 0.02), (10, 1.1), (10, -0.1)])
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
        eps = Affine()(x_t, torch.full((len(x),), float(i)), NO_CONTEXT)
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
    choice = [f"model/process/schedule={schedule}", "model.process.schedule.steps=1000"]
    chain = instantiate(compose_model("ddpm", *choice).model.process.schedule)
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
    bound = -model.log_prob(x) - model.scorer.terms.prior(to_unit(x[:1], 5))
    error = math.sqrt((loss.var() + bound.var()) / len(x))
    assert abs(loss.mean() - bound.mean()) < 4 * error and error < 0.02 * bound.mean()


@pytest.mark.parametrize("objective", ["simple", "variational"])
def test_gradients_are_finite_at_every_noise_level(objective):
    schedule = Cosine(steps=100, offset=0.008, beta_max=0.999)  # sigma up to thousands
    network = nn.Conv2d(1, 1, 1)
    nn.init.zeros_(network.weight)
    network.forward = lambda x, t, context: nn.Conv2d.forward(network, x)
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
    expected = (eps - Affine()(x_t, t, NO_CONTEXT)).square().mean((1, 2, 3))
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(terms["loss"], terms["simple"])


def test_several_draws_of_the_bound_are_independent_and_each_like_one():
    model = ddpm(Affine(), TINY)
    x = torch.randint(5, (6, 1, 1, 2)).to(torch.uint8)
    torch.manual_seed(0)
    draws = model.log_prob(x, draws=3)
    torch.manual_seed(0)
    assert torch.equal(draws, torch.stack([model.log_prob(x) for _ in range(3)]))
    assert draws.shape == (3, 6) and not torch.equal(draws[0], draws[1])
    assert model.likelihood_protocol() == {"bound_variance": "small", "bound_clip": True}


class Geometric(Schedule):
    """sigma/alpha from 0.01 to 10, each the same multiple of the last."""

    steps = 1000

    def betas(self):
        alpha_bar = 1 / (1 + torch.logspace(-2, 1, 1000, dtype=torch.float64) ** 2)
        return 1 - alpha_bar / torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])


def test_bound_of_real_numbers_is_the_exact_density_in_the_limit_of_many_steps():
    """Data N(0.2, 0.3²) in units of a space with std 2, under its own best denoiser; which the steps approach."""
    schedule = Geometric()
    known = Known(lambda x, sigma: 0.2 + 0.09 / (0.09 + sigma**2) * (x - 0.2), schedule)
    model = ddpm(known, schedule, space=Standardized(shape=(1, 1, 1), levels=None, mean=1.0, std=2.0))
    torch.manual_seed(0)
    u = 0.2 + 0.3 * torch.randn(2000, 1, 1, 1)
    exact = (Normal(0.2, 0.3).log_prob(u) - math.log(2)).flatten()
    gap = exact.mean() - model.log_prob(1 + 2 * u).mean()
    assert -0.02 < gap < 0.06, gap


def test_a_model_without_a_scorer_lacks_the_likelihood_and_nothing_else():
    model = ddpm(Affine(), TINY, scorer=None)
    assert can(model, HasLoss) and not can(model, HasLikelihood) and can(ddpm(Affine(), TINY), HasLikelihood)
    assert "model.scorer is null" in why_not(model, HasLikelihood)


# --- processes and parametrizations


@pytest.mark.parametrize("process", PROCESSES)
def test_time_is_the_inverse_of_level_on_any_scale_and_scale_leads_back(process):
    low, high = process.span
    t = torch.linspace(low + 0.01 * (high - low), high - 0.01 * (high - low), 50)
    level = process.level(t)
    for c in (1.0, 0.3, 12.0):
        other = Level(c * level.alpha, c * level.sigma)
        torch.testing.assert_close(process.time(other), t, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(process.scale(other), torch.full_like(t, 1 / c), rtol=1e-5, atol=0)


def test_clean_data_and_pure_noise_have_the_times_at_the_ends():
    ends = Level(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    for process in [*PROCESSES, Discrete(schedule=Cosine(steps=9, offset=0.008, beta_max=1.0))]:
        assert process.time(ends).tolist() == pytest.approx(list(process.span))


def test_a_discrete_process_is_linear_in_log_sigma_between_its_steps():
    process = Discrete(schedule=Linear(steps=1000, beta_first=1e-4, beta_last=0.02))
    ratio = (process.table.sigma / process.table.alpha).float()
    whole = process.level(torch.arange(1000.0))
    torch.testing.assert_close(whole, process.level(torch.arange(1000)))
    between = process.level(torch.arange(999) + 0.5)
    torch.testing.assert_close(between.sigma / between.alpha, (ratio[:-1] * ratio[1:]).sqrt(), rtol=1e-4, atol=0)
    torch.testing.assert_close(between.sigma**2 + between.alpha**2, torch.ones(999))


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_target_is_what_makes_the_denoiser_right(process, parametrization):
    """F* = (x_0 - c_skip x_t)/c_out, so D is x_0 where F is F*."""
    t = torch.tensor([process.span[1] * part for part in (0.3, 0.6, 0.9)])
    level = Level(*(part.double()[:, None] for part in process.level(t)))
    x0, eps = torch.randn(3, 40).double(), torch.randn(3, 40).double()
    x_t = level.alpha * x0 + level.sigma * eps
    c, target = parametrization.coefficients(level), parametrization.target(x0, eps, level)
    torch.testing.assert_close(c.skip * x_t + c.out * target, x0, rtol=1e-5, atol=1e-6)


def test_edms_coefficients_are_those_of_its_table():
    sigma, s = torch.tensor([0.002, 0.4, 80.0]).double(), 0.5
    level = Level(torch.ones_like(sigma), sigma)
    c = EDM(sigma_data=s, time_scale=1.0).coefficients(level)
    torch.testing.assert_close(c.skip, s**2 / (sigma**2 + s**2))
    torch.testing.assert_close(c.out, sigma * s / (sigma**2 + s**2).sqrt())
    torch.testing.assert_close(c.into, 1 / (sigma**2 + s**2).sqrt())
    torch.testing.assert_close(EDM(sigma_data=s, time_scale=1.0).c_noise(level, sigma), sigma.log() / 4)


def test_edms_target_and_inputs_have_unit_variance_at_every_level():
    torch.manual_seed(0)
    x0, eps = 0.5 * torch.randn(100_000), torch.randn(100_000)
    for process in PROCESSES:
        for part in (0.1, 0.5, 1.0):
            level, edm = process.level(torch.tensor(process.span[1] * part)), EDM(sigma_data=0.5, time_scale=1.0)
            inputs = edm.coefficients(level).into * (level.alpha * x0 + level.sigma * eps)
            assert abs(inputs.std() - 1) < 0.01 and abs(edm.target(x0, eps, level).std() - 1) < 0.01


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_times_are_those_of_their_distributions(process):
    torch.manual_seed(0)
    low, high = process.span
    uniform = (Uniform().draw(process, 20_000, torch.device("cpu")) - low) / (high - low)
    assert uniform.min() >= 0 and uniform.max() <= 1 and abs(uniform.mean() - 0.5) < 0.01
    middle = (LogitNormal(mean=0.5, std=0.7).draw(process, 20_000, torch.device("cpu")) - low) / (high - low)
    assert abs(middle.logit().mean() - 0.5) < 0.02 and abs(middle.logit().std() - 0.7) < 0.02
    noisy = process.level(LogNormal(mean=0.0, std=0.1).draw(process, 20_000, torch.device("cpu")))
    log = (noisy.sigma / noisy.alpha).log()
    assert abs(log.mean()) < 0.01 and abs(log.std() - 0.1) < 0.01


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS, ids=lambda p: type(p).__name__)
def test_min_snr_weights_the_error_of_the_clean_data(parametrization):
    torch.manual_seed(0)
    guesses = []

    class Spy(MinSNR):
        def forward(self, guess, space):
            guesses.append(guess)
            return super().forward(guess, space)

    model = ddpm(Affine(), TINY, parametrization=parametrization, weighting=Spy(gamma=0.9))
    loss = model.loss(torch.randint(5, (60, 1, 1, 2)).to(torch.uint8))["loss"]
    (guess,) = guesses
    snr = (guess.level.alpha / guess.level.sigma) ** 2
    expected = snr.clamp(max=0.9) * (guess.estimate - guess.x0).square().mean((1, 2, 3))
    assert (snr > 0.9).any() and (snr < 0.9).any()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("process", [*PROCESSES, Discrete(schedule=Cosine(steps=20, offset=0.008, beta_max=1.0))])
def test_every_process_goes_with_every_parametrization_or_is_refused(process, parametrization):
    sampler = DDIM(steps=3, eta=0.0, **PLAIN)
    parts = dict(process=process, parametrization=parametrization, times=Uniform(), scorer=None, sampler=sampler)
    no_signal = process.level(torch.tensor(process.span[1])).alpha == 0
    if isinstance(parametrization, Noise) and no_signal:
        with pytest.raises(UserError, match="ends without signal"):
            ddpm(Affine(), TINY, **parts)
        return
    model = ddpm(Affine(), TINY, **parts)
    torch.manual_seed(0)
    assert model.loss(torch.randint(5, (50, 1, 1, 2)).to(torch.uint8))["loss"].isfinite().all()
    assert model.sample(4).shape == (4, 1, 1, 2)


def test_parts_that_do_not_go_together_are_refused():
    sampler = DDIM(steps=3, eta=0.0, **PLAIN)
    straight = dict(process=Straight(), parametrization=Data(time_scale=1.0), scorer=None, sampler=sampler)
    with pytest.raises(UserError, match="times=steps needs a process of steps"):
        ddpm(Affine(), TINY, **straight)
    with pytest.raises(UserError, match="variational needs times that are steps"):
        ddpm(Affine(), TINY, objective="variational", times=Uniform())
    with pytest.raises(UserError, match="bound needs a process of steps"):
        Variational(process=Straight(), variance="small", clip=True)


# --- the denoiser


def test_denoiser_knows_the_time_of_every_training_level_and_of_those_between():
    process = Discrete(schedule=Linear(steps=1000, beta_first=1e-4, beta_last=0.02))
    assert torch.equal(process.time(process.table), torch.arange(1000.0))
    assert [process.time(level).item() for level in process.grid(None)[:-1]] == list(range(999, -1, -1))
    ratio = process.table.sigma / process.table.alpha
    between = process.time(Level(torch.ones(()), (ratio[:-1] * ratio[1:]).sqrt()))
    torch.testing.assert_close(between, torch.arange(999) + 0.5, rtol=0, atol=1e-2)


def test_denoiser_is_the_papers_estimate_and_is_not_clipped():
    model, x_t = ddpm(Affine(), TINY), torch.randn(64, 1, 1, 2)
    denoiser = model.denoiser()
    for i, alpha_bar in enumerate(TINY.alpha_bar()):
        eps = Affine()(x_t, torch.full((64,), float(i)), NO_CONTEXT)
        expected = (x_t - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()
        level = Level(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())
        found = denoiser(x_t, level)
        torch.testing.assert_close(found, expected)
        assert found.abs().max() > 1
        for_each = Level(level.alpha.float().expand(64), level.sigma.float().expand(64))
        torch.testing.assert_close(denoiser(x_t, for_each), expected)
        torch.testing.assert_close(denoiser(5 * x_t, Level(5 * level.alpha, 5 * level.sigma)), expected)


def test_estimates_are_clipped_where_the_sampler_says_so_and_the_space_has_a_range():
    space = Standardized(shape=(1, 1, 2), levels=None, mean=0.0, std=1.0)
    for chosen, clip, effect in [(None, True, True), (None, False, False), (space, True, False)]:
        sampler = DDIM(steps=3, eta=0.0, **PLAIN | {"clip": clip})
        model = ddpm(Affine(), TINY, sampler=sampler, **({"space": chosen} if chosen else {}))
        torch.manual_seed(0)
        largest = max(x0.abs().max() for x0 in model.estimates(50, {}, GLOBAL))
        assert (largest <= 1) == effect == model.sampling_protocol()["sampler_clip"]


def test_labels_reach_the_network_in_loss_bound_and_samples():
    model = ddpm(Affine(), TINY, classes=10)
    x = torch.full((8, 1, 1, 2), 2, dtype=torch.uint8)

    def run(call, number):
        torch.manual_seed(0)
        return call({"label": torch.full((8,), number)})

    for call in (lambda y: model.loss(x, y)["loss"], lambda y: model.log_prob(x, y), lambda y: model.sample(8, y)):
        assert torch.equal(run(call, 3), run(call, 3)) and not torch.equal(run(call, 0), run(call, 9))
    with pytest.raises(UserError, match="conditional on label"):
        model.log_prob(x)


def test_film_ends_in_the_sample_and_any_sampler_may_take_over():
    model = ddpm(Affine(), TINY)
    torch.manual_seed(0)
    *before, last = model.film(4)
    torch.manual_seed(0)
    assert torch.equal(model.sample(4), last.estimate)
    assert len(before) == 2 and last.noisy.dtype == torch.uint8 and last.noisy.shape == (4, 1, 1, 2)
    assert model.sampling_protocol()["sampler_steps"] == 3
    model.use(DDIM(steps=2, eta=0.0, **PLAIN))
    assert len(list(model.film(4))) == 2
    with pytest.raises(UserError, match="steps=4"):
        model.use(DDIM(steps=4, eta=0.0, **PLAIN))
    assert model.sampler.steps == 2


@pytest.mark.parametrize("name", ["ddpm", "edm", "flow_matching"])
def test_each_model_of_the_zoo_samples_by_each_sampler(name):
    model = build_model(name, "model.network.width=8", "model.network.blocks=1").eval()
    for file in ("ancestral", "ddim", "euler", "heun"):
        model.use(instantiate(OmegaConf.load(CONFIGS / "sampler" / f"{file}.yaml"), steps=3))
        assert model.sample(2).shape == (2, 1, 8, 8) and model.sampling_protocol()["sampler"] == file
