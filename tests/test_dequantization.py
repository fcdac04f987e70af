"""Dequantization: noise of a known density inside the bin, and bounds that are bounds."""

from math import log

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from genmodels.errors import UserError
from genmodels.models.flow import Flow
from genmodels.nn.flows.coupling import ChannelAffine
from genmodels.parts.densities import StandardNormal
from genmodels.parts.dequantization import DequantizationNoise, Dequantized, Uniform, Variational
from genmodels.seeds import Global
from tests.bijection_checks import flow_of, randomised
from tests.helpers import build_model

PIXEL, LEVELS = (1, 1, 1), 4
SCALE, SHIFT = 3.0, -1.0


class These(Global):
    """Hands out these numbers for normal draws."""

    def __init__(self, numbers: Tensor):
        self.numbers = numbers

    def normal(self, shape, device) -> Tensor:
        return self.numbers.view(*shape)


def variational(shape: tuple[int, ...] = PIXEL, levels: int = LEVELS) -> Variational:
    """Noise with weights of its own, which differs from image to image."""
    torch.manual_seed(1)
    noise = Variational(shape=shape, levels=levels, couplings=2, width=8, blocks=1, dropout=0.0)
    return randomised(noise, 0.4)


def one_pixel(noise: DequantizationNoise) -> Flow:
    """p(v) = N(3v - 1) * 3."""
    affine = ChannelAffine(shape=PIXEL)
    with torch.no_grad():
        affine.log_scale.fill_(log(SCALE))
        affine.shift.fill_(SHIFT)
    return flow_of(Dequantized(shape=PIXEL, levels=LEVELS, noise=noise), StandardNormal(shape=PIXEL), affine=affine)


def probabilities() -> Tensor:
    """P(x) of x = 0..3 under `one_pixel`, the mass of each bin: what a bound is a bound of."""
    edges = Normal(0.0, 1.0).cdf(SCALE * torch.linspace(0, 1, LEVELS + 1, dtype=torch.float64) + SHIFT)
    return edges.diff()


def values() -> Tensor:
    return torch.arange(LEVELS, dtype=torch.uint8).view(LEVELS, *PIXEL)


def test_uniform_noise_covers_its_bin():
    space, x = Dequantized(shape=(4,), levels=4, noise=Uniform()), torch.arange(4, dtype=torch.uint8).repeat(1000, 1)
    v, correction = space.encode(x)
    assert torch.equal(space.decode(v), x)
    torch.testing.assert_close(v.mean(0), (torch.arange(4) + 0.5) / 4, rtol=0, atol=0.02)
    torch.testing.assert_close(correction, torch.full((1000,), -4 * log(4)))
    assert space.decode(torch.tensor([[-3.0, 3.0, 0.0, 1.0]])).tolist() == [[0, 3, 0, 3]]


@pytest.mark.parametrize(("levels", "dtype"), [(2, torch.uint8), (256, torch.uint8), (1000, torch.int16)])
def test_the_middle_gives_back_the_integers(levels, dtype):
    space = Dequantized(shape=(1, 5, 5), levels=levels, noise=Uniform())
    x = torch.randint(levels, (8, 1, 5, 5)).to(dtype)
    middle = space.middle(x)
    torch.testing.assert_close(middle, (x + 0.5) / levels)
    decoded = space.decode(middle)
    assert decoded.dtype == dtype and torch.equal(decoded, x)


@pytest.mark.parametrize("value", range(LEVELS))
def test_variational_noise_has_mass_one(value):
    """∫ q(u|x) du over the u of a fine grid of eps, of one pixel."""
    noise = variational().double()
    eps = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    x = torch.full((4001, *PIXEL), value, dtype=torch.uint8)
    with torch.no_grad():
        u, log_q = noise.draw(x, eps, These(eps))
    u = u.flatten()
    assert (u.diff() > 0).all() and 0 < u[0] < 1e-2 and 0.99 < u[-1] < 1
    assert abs(torch.trapezoid(log_q.exp(), u) - 1) < 1e-4


def test_variational_noise_depends_on_the_image():
    noise, eps = variational(), torch.zeros(LEVELS)
    u, _ = noise.draw(values(), eps, These(eps))
    assert u.max() - u.min() > 0.01


@pytest.mark.parametrize("noise", [Uniform, variational])
def test_bounds_are_below_the_probability_and_their_weights_average_to_it(noise):
    flow, exact = one_pixel(noise()), probabilities()
    draws = flow.log_prob(values(), draws=20_000).double()
    error = draws.exp().std(0) / 20_000**0.5
    assert (error < 0.05 * exact).all()
    assert ((draws.exp().mean(0) - exact).abs() < 5 * error).all()
    assert (draws.mean(0) < exact.log()).all()


def test_training_the_noise_tightens_the_bound():
    """From far off to nearly the posterior of u, which for one pixel the noise can be."""
    flow, exact = one_pixel(variational()), probabilities().log().mean()
    x = values().repeat(50, 1, 1, 1)
    optimizer = torch.optim.Adam(flow.space.parameters(), lr=0.02)
    torch.manual_seed(0)
    for step in range(60):
        loss = flow.loss(x)["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 0:
            assert all(p.grad is not None and p.grad.isfinite().all() for p in flow.space.parameters())
            assert flow.space.noise.f.steps[0].net.stem.weight.grad.abs().max() > 0
            at_first = float(-loss)
    after = float(flow.log_prob(x, draws=20).mean())
    assert at_first < exact - 0.2 and exact - 0.05 < after < exact + 0.01


def test_the_protocol_names_the_noise():
    for name in ("uniform", "variational"):
        flow = build_model(
            "realnvp",
            f"model/space/noise={name}",
            "model.bijections.realnvp.width=4",
            "model.bijections.realnvp.multipliers=[1,1]",
        ).eval()
        assert flow.likelihood_protocol() == {"dequantization": name} and flow.bound == "elbo"
        x = torch.randint(17, (2, 1, 8, 8), dtype=torch.uint8)
        assert torch.equal(flow.decode(flow.encode(x)), x) and flow.log_prob(x).isfinite().all()


def test_variational_noise_refuses_points():
    with pytest.raises(UserError, match="expected images"):
        Variational(shape=(3,), levels=4, couplings=2, width=8, blocks=1, dropout=0.0)
