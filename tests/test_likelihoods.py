"""Pixel likelihoods are probabilities of integers, stay finite, and sample what they say."""

import pytest
import torch

from genmodels.errors import UserError
from genmodels.parts.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian, PixelLikelihood

CASES = [(Bernoulli, 2)] + [(cls, levels) for cls in (DiscretizedLogistic, Gaussian) for levels in (2, 17, 256)]
every_likelihood = pytest.mark.parametrize(("cls", "levels"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))


def grid(likelihood: PixelLikelihood, means: list[float], log_scales: list[float]) -> torch.Tensor:
    """Every pair of parameters (of a Bernoulli: every mean as its logit), shape (1, k, len(means), len(log_scales))."""
    planes = torch.meshgrid(torch.tensor(means), torch.tensor(log_scales), indexing="ij")
    return torch.stack(planes[: likelihood.n_params])[None]


def log_mass_of_levels(likelihood: PixelLikelihood, params: torch.Tensor) -> torch.Tensor:
    """log p of every level under every pair of parameters, shape (levels, 1, 1, means, scales)."""
    x = torch.zeros(1, 1, *params.shape[2:], dtype=torch.uint8)
    return torch.stack([likelihood.log_mass(params, x + level) for level in range(likelihood.levels)])


@every_likelihood
def test_sums_to_one_over_levels(cls, levels):
    likelihood = cls(levels=levels)
    params = grid(
        likelihood,
        [-30.0, -1.3, -1.0, -0.7, -0.01, 0.0, 0.3, 0.99, 1.0, 7.0],
        [-9.0, -6.0, -4.0, -2.0, -1.0, 0.0, 1.0, 4.0, 9.0],
    )
    total = log_mass_of_levels(likelihood, params).double().exp().sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-5, rtol=0)


@every_likelihood
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_parameters_are_finite(cls, levels, dtype):
    likelihood = cls(levels=levels)
    params = grid(likelihood, [-1e6, -1e3, -1.0, 0.0, 1.0, 1e3, 1e6], [-1e3, -7.0, 0.0, 7.0, 1e3])
    params = params.to(dtype).requires_grad_()
    log_mass = log_mass_of_levels(likelihood, params)
    assert log_mass.dtype == torch.float32
    assert log_mass.isfinite().all() and (log_mass <= 0).all()
    (gradient,) = torch.autograd.grad(log_mass.sum(), params)
    assert gradient.isfinite().all()
    assert int(likelihood.sample(params).max()) < levels


@pytest.mark.parametrize(("cls", "cdf"), [(DiscretizedLogistic, torch.sigmoid), (Gaussian, torch.special.ndtr)])
def test_mass_is_that_of_the_bin_on_the_unit_interval(cls, cdf):
    likelihood, levels, mean, log_scale = cls(levels=17), 17, 0.13, -1.2
    params = grid(likelihood, [mean], [log_scale])
    edges = torch.arange(-1, levels).double() / (levels - 1) * 2 - 1 + 1 / (levels - 1)  # right edges of levels -1..16
    below = cdf((edges - mean) / torch.tensor(log_scale).double().exp())
    below[0], below[-1] = 0, 1
    masses = log_mass_of_levels(likelihood, params).flatten().double().exp()
    torch.testing.assert_close(masses, below.diff(), atol=1e-6, rtol=1e-5)


@every_likelihood
def test_gradient_is_the_derivative(cls, levels):
    likelihood = cls(levels=levels)
    params = grid(likelihood, [-1.1, -0.4, 0.2], [-2.0, -0.5]).requires_grad_()
    x = torch.randint(levels, (1, 1, 3, 2), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    direction, step = torch.randn(params.shape, generator=torch.Generator().manual_seed(1)), 1e-2
    (gradient,) = torch.autograd.grad(likelihood.log_prob(params, x).sum(), params)
    above, below = likelihood.log_prob(params + step * direction, x), likelihood.log_prob(params - step * direction, x)
    torch.testing.assert_close((gradient * direction).sum(), ((above - below) / (2 * step)).sum(), rtol=1e-2, atol=1e-2)


@every_likelihood
def test_samples_follow_the_probabilities(cls, levels):
    likelihood, n = cls(levels=levels), 20_000
    params = grid(likelihood, [-0.95, 0.3], [-2.5, -0.7])
    p = log_mass_of_levels(likelihood, params).flatten(1).double().exp()  # (levels, 4)
    torch.manual_seed(0)
    x = likelihood.sample(params.expand(n, -1, -1, -1)).flatten(1)  # (n, 4)
    assert x.dtype == torch.uint8
    frequency = torch.stack([(x == level).double().mean(0) for level in range(levels)])
    assert ((frequency - p).abs() <= 5 * (p * (1 - p) / n).sqrt() + 2 / n).all()


@every_likelihood
def test_mode_is_the_most_probable_level(cls, levels):
    likelihood = cls(levels=levels)
    params = grid(likelihood, [-2.0, -0.93, -0.2, 0.41, 0.77, 3.0], [-5.0, -2.0, 0.0, 2.0])
    log_mass = log_mass_of_levels(likelihood, params)
    of_mode = likelihood.log_mass(params, likelihood.mode(params))
    torch.testing.assert_close(of_mode, log_mass.amax(0), atol=1e-5, rtol=0)


def test_log_prob_sums_over_entries():
    likelihood = DiscretizedLogistic(levels=256)
    params, x = torch.randn(3, 6, 4, 4), torch.randint(256, (3, 3, 4, 4)).to(torch.uint8)
    torch.testing.assert_close(likelihood.log_prob(params, x), likelihood.log_mass(params, x).sum((1, 2, 3)))


def test_bernoulli_refuses_data_that_are_not_binary():
    with pytest.raises(UserError, match="256 levels.*binarized"):
        Bernoulli(levels=256)
