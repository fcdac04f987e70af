"""The ODE solver, and likelihoods and samples by the probability flow, against closed forms."""

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from genmodels.capabilities import Level
from genmodels.engine.contract import jiggle
from genmodels.errors import Fault, UserError
from genmodels.parts.probability_flow import ProbabilityFlow, divergence
from genmodels.parts.processes import Discrete, Straight, VarianceExploding
from genmodels.parts.schedules import Cosine
from genmodels.parts.spaces import Standardized
from genmodels.samplers.dormand_prince import attempt, solve
from genmodels.samplers.ode import ODE
from genmodels.samplers.probability_flow import LEAST, time, velocity
from genmodels.seeds import seeded
from tests.helpers import build_model

PROCESSES = {  # all of them end in pure noise, as a flow does
    "straight": Straight(),
    "variance preserving": Discrete(schedule=Cosine(steps=1000, offset=0.0, beta_max=1.0)),
    "variance exploding": VarianceExploding(sigma_min=0.002, sigma_max=1e7, rho=7.0),
}
each_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
PLANE = Standardized(shape=(2,), levels=None, mean=0.0, std=1.0)
FACTS = {"shape": (2,), "levels": None, "classes": 3}


# --- the solver


def growing(t, y):
    """dy/dt = y cos t, with solutions c exp(sin t)."""
    return y * t.cos()[:, None]


def test_a_step_is_of_order_five_and_its_error_estimate_too():
    y = torch.ones(1, 1).double()
    errors, estimates = [], []
    for n in (20, 40, 80):
        t, y_t = torch.zeros(1).double(), y
        for _ in range(n):
            y_t, _, error = attempt(growing, t, y_t, growing(t, y_t), torch.full_like(t, 2 / n))
            t = t + 2 / n
        errors.append(abs(y_t.item() - math.exp(math.sin(2))))
        estimates.append(error.abs().item())
    rates = [math.log2(a / b) for values in (errors, estimates) for a, b in zip(values[:-1], values[1:], strict=True)]
    assert rates == pytest.approx([5] * 4, abs=0.4), rates


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("times", [[0.0, 0.3, 3.0, 7.0], [7.0, 2.0, 0.0]], ids=["forwards", "backwards"])
def test_solutions_are_as_exact_as_asked_at_every_time(tolerance, times):
    start = torch.tensor([[1.0], [-20.0], [1e-3]]).double()
    found = list(solve(growing, start, times, rtol=tolerance, atol=tolerance))
    assert len(found) == len(times) - 1
    for t, y in zip(times[1:], found, strict=True):
        exact = start * math.exp(math.sin(t) - math.sin(times[0]))
        assert ((y - exact).abs() / (1 + exact.abs())).max() < 20 * tolerance


def test_looser_tolerances_take_fewer_calls():
    calls = []

    def counted(t, y):
        calls.append(t)
        return growing(t, y)

    ends = []
    for tolerance in (1e-2, 1e-5, 1e-8):
        list(solve(counted, torch.ones(1, 1).double(), [0, 9], rtol=tolerance, atol=tolerance))
        ends.append(len(calls))
    assert ends[0] < ends[1] - ends[0] < ends[2] - ends[1] < 1000, ends


def test_a_row_does_not_depend_on_its_batch():
    """One turns fifty times as fast as another, whose steps are as large as they are alone."""
    speed = torch.tensor([1.0, 50.0]).double()

    def turning(rows):
        return lambda t, y: speed[rows][:, None] * torch.stack([-y[:, 1], y[:, 0]], 1)

    start = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()
    (together,) = solve(turning([0, 1]), start, [0, 2], rtol=1e-4, atol=1e-4)
    for i in (0, 1):
        (alone,) = solve(turning([i]), start[i : i + 1], [0, 2], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-9)


def test_a_solution_that_ends_before_the_time_or_is_no_number_is_a_fault():
    for slope in (lambda t, y: y**2, lambda t, y: y * math.nan):
        with pytest.raises(Fault, match="steps became too small at t="):
            list(solve(slope, torch.ones(2, 1).double(), [0, 3], rtol=1e-4, atol=1e-4))


@pytest.mark.parametrize("rtol, atol", [(0.0, 1e-5), (1e-5, -1.0), (1e-5, math.nan)])
def test_tolerances_that_no_solver_can_meet_are_refused(rtol, atol):
    with pytest.raises(UserError, match=r"sampler\.rtol is .* expected numbers above 0"):
        ode(rtol=rtol, atol=atol)
    with pytest.raises(UserError, match=r"model\.scorer\.rtol is .* expected numbers above 0"):
        ProbabilityFlow(process=Straight(), rtol=rtol, atol=atol, trace="exact")
    if rtol == 0:
        with pytest.raises(UserError, match=r"scorer\.rtol"):
            build_model("cnf", "model.scorer.rtol=0", **FACTS)


# --- the exact field of a mixture in the plane

WEIGHTS = torch.tensor([0.2, 0.3, 0.5]).double()
MEANS = torch.tensor([[1.0, 1.0], [-1.5, 0.5], [0.2, -1.0]]).double()
STDS = torch.tensor([0.3, 0.5, 0.4]).double()


def mixture(level: Level) -> MixtureSameFamily:
    """p(x_t) at a level of shape ()."""
    variances = (level.alpha * STDS) ** 2 + level.sigma**2
    parts = MultivariateNormal(level.alpha * MEANS, variances[:, None, None] * torch.eye(2).double())
    return MixtureSameFamily(Categorical(WEIGHTS), parts)


def field(x: torch.Tensor, level: Level) -> torch.Tensor:
    """D(x, level) = E[x_0|x], for levels of shape () or (b,)."""
    alpha, sigma = level.alpha.view(-1, 1, 1), level.sigma.view(-1, 1, 1)
    variances = (alpha * STDS[:, None]) ** 2 + sigma**2  # (b or 1, 3, 1)
    off = x[:, None] - alpha * MEANS  # (b, 3, 2)
    log_p = WEIGHTS.log() - variances[..., 0].log() - (off**2 / variances).sum(-1) / 2
    return (log_p.softmax(-1)[..., None] * (MEANS + alpha * STDS[:, None] ** 2 / variances * off)).sum(1)


def least_noise(process) -> Level:
    """The level of x_0 + s eps at which the flow of a process begins."""
    least = process.level(torch.tensor(process.span[0]).double())
    s = torch.as_tensor(max(least.sigma / least.alpha, LEAST)).double()
    return Level(torch.ones_like(s), s)


def scorer(process, *, tolerance=1e-6, trace="exact") -> ProbabilityFlow:
    return ProbabilityFlow(process=process, rtol=tolerance, atol=tolerance, trace=trace)


def points(n: int) -> torch.Tensor:
    """Draws of the mixture, and some from elsewhere."""
    with seeded(0):
        x = mixture(Level(torch.ones(()).double(), torch.zeros(()).double())).sample((n,))
        return torch.cat([x, 2 * torch.randn(n, 2).double()])


@each_process
def test_the_likelihood_of_a_mixture_s_exact_field_is_its_density(process):
    x = points(50)
    right = mixture(least_noise(process)).log_prob(x)
    for tolerance in (1e-4, 1e-8):
        found = scorer(process, tolerance=tolerance).log_prob(x, field, PLANE)
        error = (found - right).abs()
        assert error.max() < 500 * tolerance and error.median() < 20 * tolerance, (error.max(), error.median())
    clean = mixture(Level(torch.ones(()).double(), torch.zeros(()).double())).log_prob(x)
    assert (found - clean).abs().max() < 5e-3, "least noise is nearly none"


def test_a_flow_starts_where_the_sampler_does():
    """A process that keeps a little signal has another density: that of the flow from N(0, start²)."""
    process = VarianceExploding(sigma_min=1e-5, sigma_max=3.0, rho=7.0)
    mean, std = 0.3, 0.4
    x = torch.linspace(-1, 1.5, 20).double()[:, None]
    found = scorer(process, tolerance=1e-8).log_prob(
        x,
        lambda x, level: (
            mean
            + (x - level.alpha[:, None] * mean)
            * (level.alpha * std**2 / ((level.alpha * std) ** 2 + level.sigma**2))[:, None]
        ),
        PLANE,
    )
    slope = math.hypot(std, 3.0) / std  # of x_0 -> x_T = mean + slope (x_0 - mean)
    right = Normal(0.0, 3.0).log_prob(mean + slope * (x - mean)).squeeze() + math.log(slope)
    torch.testing.assert_close(found, right, rtol=0, atol=1e-5)


@each_process
@pytest.mark.parametrize("trace", ["rademacher", "normal"])
def test_hutchinson_s_estimate_is_unbiased(process, trace):
    x = points(1)[:1].expand(1000, -1)
    exact = scorer(process, tolerance=1e-4).log_prob(x[:1], field, PLANE)
    with seeded(3):
        draws = scorer(process, tolerance=1e-4, trace=trace).log_prob(x, field, PLANE)
    standard_error = draws.std() / 1000**0.5
    assert 0 < standard_error < 0.1 and (draws.mean() - exact).abs() < 4 * standard_error + 1e-3


def test_noise_of_hutchinson_s_estimate_is_drawn_once_from_the_generator_in_use():
    x, flow = points(3), scorer(Straight(), trace="normal", tolerance=1e-3)
    found = []
    for seed in (1, 1, 2):
        with seeded(seed):
            found.append(flow.log_prob(x, field, PLANE))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def ode(steps=4, rtol=1e-6, atol=1e-6) -> ODE:
    return ODE(steps=steps, rtol=rtol, atol=atol, guidance=1.0, guidance_interval=None, clip=False)


@each_process
def test_samples_of_a_mixture_s_exact_field_have_its_moments(process):
    torch.manual_seed(0)
    sampler, noise = ode(rtol=1e-4, atol=1e-4), process.start * torch.randn(20_000, 2)
    *_, x = sampler(field, noise, process.grid(sampler.steps))
    mean = WEIGHTS @ MEANS
    second = (WEIGHTS[:, None, None] * (MEANS[:, :, None] * MEANS[:, None, :])).sum(0) + WEIGHTS @ STDS**2 * torch.eye(
        2
    )
    assert x.dtype == torch.float32
    torch.testing.assert_close(x.double().mean(0), mean, rtol=0, atol=0.035)  # 4 standard errors
    torch.testing.assert_close(x.double().T @ x.double() / len(x), second, rtol=0, atol=0.06)


@each_process
def test_the_sampler_inverts_the_way_of_the_likelihood(process):
    """What it makes of x_T has the density of x_T over the Jacobian: the flow is one map, in both directions."""
    sampler = ode(rtol=1e-7, atol=1e-7)
    noise = process.start * torch.tensor([[0.3, -0.8]]).double()

    def last(noise):
        *_, x = sampler(field, noise, process.grid(sampler.steps))
        return x

    jacobian = torch.autograd.functional.jacobian(last, noise).view(2, 2)
    right = Normal(0.0, process.start).log_prob(noise).sum() - torch.linalg.slogdet(jacobian).logabsdet
    found = scorer(process, tolerance=1e-7).log_prob(last(noise).detach(), field, PLANE)
    assert abs(found.item() - right.item()) < 1e-4


def test_estimates_are_those_at_the_levels_and_at_the_end():
    process, noise = Straight(), torch.randn(5, 2)
    asked = []
    found = list(ode()(lambda x, level: asked.append(level) or field(x, level), noise, process.grid(4)))
    shown = [time(level) for level in asked if not level.sigma.ndim]
    assert shown == pytest.approx([1, 0.75, 0.5, 0.25, LEAST]) and len(found) == 5
    torch.testing.assert_close(found[0], (WEIGHTS @ MEANS).float().expand(5, 2))


# --- the models


def small_cnf(*overrides: str):
    model = build_model("cnf", "model.network.width=16", "model.network.blocks=2", *overrides, **FACTS).eval()
    jiggle(model, by=0.2)
    return model


def test_the_divergence_is_the_trace_of_the_jacobian():
    model, y, t = small_cnf().double(), torch.randn(4, 2).double().requires_grad_(), torch.rand(4).double()
    denoiser, flow = model.denoiser(), scorer(Straight())
    found = divergence(velocity(denoiser, t, y), y, flow.probes(y))
    for i in range(4):
        jacobian = torch.autograd.functional.jacobian(lambda y, t=t[i : i + 1]: velocity(denoiser, t, y[None])[0], y[i])
        torch.testing.assert_close(found[i], jacobian.trace())


def test_its_density_integrates_to_one():
    model, axis = small_cnf(), torch.linspace(-9, 9, 73)
    with seeded(0):
        spread = model.sample(1000)
    assert spread.abs().max() < 8
    p = model.log_prob(torch.cartesian_prod(axis, axis)).exp()
    assert abs(p.sum() * (axis[1] - axis[0]) ** 2 - 1) < 1e-3


def test_its_likelihood_does_not_depend_on_the_batch():
    """Tested in float64, where rounding, which depends on the batch size, is far below the tolerance."""
    model, x = small_cnf().double(), torch.tensor([[0.1, 0.2], [10.0, -4.0], [1.0, 1.0]])
    alone = torch.cat([model.log_prob(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(model.log_prob(x), alone, rtol=0, atol=1e-8)


def test_its_likelihood_knows_the_space():
    x = torch.randn(5, 2)
    torch.testing.assert_close(
        small_cnf("model.space.mean=1.0", "model.space.std=2.0").log_prob(1 + 2 * x),
        small_cnf().log_prob(x) - 2 * math.log(2),
        rtol=0,
        atol=1e-4,
    )


def test_its_likelihood_is_in_float32_under_autocast():
    model, x = small_cnf(), torch.randn(5, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.log_prob(x)
    assert torch.equal(found, model.log_prob(x)) and found.dtype == torch.float32 and not found.requires_grad


def test_the_protocol_says_how_it_was_solved():
    assert small_cnf().bound == "pf_ode"
    expected = {"bound_solver": "dopri5", "bound_rtol": 1e-5, "bound_atol": 1e-5, "bound_trace": "exact"}
    assert small_cnf().likelihood_protocol() == expected
    noisy = small_cnf("model.scorer.trace=rademacher", "model.scorer.rtol=0.01").likelihood_protocol()
    assert noisy == expected | {"bound_trace": "hutchinson_rademacher", "bound_rtol": 0.01}
    assert small_cnf().sampling_protocol()["sampler_solver"] == "dopri5"


slow = [pytest.param(name, marks=pytest.mark.slow) for name in ("edm", "ddpm")]
each_of_images = pytest.mark.parametrize("name", ["flow_matching", *slow])


@each_of_images
def test_models_of_images_take_the_ode_where_noise_makes_integers_real(name):
    tiny = [f"model.network.{key}" for key in ("width=4", "blocks=1", "multipliers=[1]", "attention_resolutions=[]")]
    loose = ["model/scorer=ode", "model.scorer.rtol=1e-2", "model.scorer.atol=1e-2"]
    with pytest.raises(UserError, match="integers without noise; choose model/space=dequantized"):
        build_model(name, *tiny, *loose)
    model = build_model(name, *tiny, *loose, "model/space=dequantized").eval()
    x = torch.randint(17, (3, 1, 8, 8), dtype=torch.uint8)
    protocol = model.likelihood_protocol()
    assert protocol["dequantization"] == "uniform" and protocol["bound_trace"] == "hutchinson_rademacher"
    draws = model.log_prob(x, draws=2)
    assert draws.shape == (2, 3) and draws.isfinite().all() and (draws < 0).all() and not torch.equal(*draws)


@each_of_images
def test_models_of_images_are_models_of_points_with_another_network_and_space(name):
    points = ["model/network=points", "model/space=standardized", "model.network.width=16", "sampler.steps=4"]
    loose = ["model/scorer=ode", "model.scorer.trace=exact", "model.scorer.rtol=1e-2", "model.scorer.atol=1e-2"]
    model, x = build_model(name, *points, *loose, "model/conditioner=label", **FACTS), torch.randn(6, 2)
    label = {"label": torch.arange(6) % 3}
    assert model.loss(x, label)["loss"].isfinite().all() and model.eval().sample(6, label).shape == (6, 2)
    assert model.log_prob(x, label).isfinite().all()


def test_a_network_of_points_refuses_images_and_odd_widths():
    with pytest.raises(UserError, match=r"samples of shape \[1, 8, 8\], expected \[d\]"):
        build_model("cnf", "model/space=pixels")
    with pytest.raises(UserError, match="width=5"):
        build_model("cnf", "model.network.width=5", **FACTS)
