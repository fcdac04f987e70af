"""The VAE's bounds on a linear-Gaussian model, whose likelihood and ELBO have closed forms."""

from math import log

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from genmodels.capabilities import Clock, Compresses, can
from genmodels.context import NO_CONTEXT, Context, Unconditional
from genmodels.errors import UserError
from genmodels.models.vae import VAE
from genmodels.nn.vae.conv import ConvDecoder, ConvEncoder
from genmodels.nn.vae.mlp import MLPDecoder, MLPEncoder
from genmodels.parts.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian
from genmodels.parts.objectives import ELBO, ImportanceWeighted, Objective
from genmodels.parts.posteriors import Gaussian as GaussianPosterior
from genmodels.parts.posteriors import Planar, Posterior, bent, mean_and_log_std
from genmodels.parts.priors import Prior, StandardNormal, VampPrior
from genmodels.samplers.direct import Direct
from genmodels.seeds import GLOBAL, seeded
from genmodels.training.hooks import initialisers
from genmodels.units import to_unit
from tests.helpers import build_model

D, LOG_SCALE, LEVELS = (
    4,
    -1.8,
    256,
)  # entries; log s of the noise, some 20 levels; so the sum over a bin is width x density
LOG_BIN = D * log(2 / (LEVELS - 1))
PLAIN = Direct(temperature=1.0, truncation=None)


def linear_vae(
    objective: Objective | None = None, posterior: Posterior | None = None, prior: Prior | None = None
) -> VAE:
    """x = W z + b + s noise on [-1, 1], in bins, and a posterior that is linear and deliberately not the best."""
    facts = {"shape": [1, 2, 2], "latent_dim": 2, "widths": [], "activation": "tanh", "context": {}}
    likelihood, posterior = Gaussian(levels=LEVELS), posterior or GaussianPosterior()
    encoder, decoder = MLPEncoder(**facts, posterior=posterior), MLPDecoder(**facts, likelihood=likelihood)
    with torch.no_grad():
        head, (W, b) = decoder.layers[-1], weights()
        head.weight.copy_(torch.cat([W, torch.zeros(D, 2)]))
        head.bias.copy_(torch.cat([b, torch.full((D,), LOG_SCALE)]))
        noise = torch.tensor(LOG_SCALE).exp() ** 2 * torch.eye(D)
        best = W.T @ torch.linalg.inv(W @ W.T + noise)  # E[z|x] = best (u - b)
        tail = encoder.layers[-1]
        # The encoder sees (u + 1)/2; numbers after the fourth bend the posterior
        tail.weight[:4].copy_(torch.cat([2 * 0.6 * best, torch.zeros(2, D)]))
        tail.bias[:4].copy_(torch.cat([-0.6 * best @ (b + 1), torch.tensor([-0.3, -0.4])]))
    return VAE(
        conditioner=Unconditional(sizes={}),
        encoder=encoder,
        decoder=decoder,
        posterior=posterior,
        prior=prior or StandardNormal(latent_dim=2),
        likelihood=likelihood,
        objective=objective or elbo(),
        latent_dim=2,
        sampler=PLAIN,
    )


def elbo(draws: int = 1, beta: float = 1.0, warmup_steps: int = 0) -> ELBO:
    return ELBO(draws=draws, beta=beta, warmup_steps=warmup_steps)


def weights() -> tuple[Tensor, Tensor]:
    return torch.tensor([[0.2, 0.1], [-0.1, 0.2], [0.15, -0.1], [0.1, 0.1]]), torch.tensor([0.1, -0.1, 0.0, 0.2])


def data() -> Tensor:
    """Five images, none near the outer levels."""
    return torch.randint(85, 185, (5, 1, 2, 2), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def exact_log_prob(x: Tensor) -> Tensor:
    """log N(x; b, W Wᵀ + s² I) + log of the bin's volume, (b,)."""
    W, b = weights()
    covariance = W @ W.T + torch.tensor(LOG_SCALE).exp() ** 2 * torch.eye(D)
    return MultivariateNormal(b, covariance).log_prob(to_unit(x, LEVELS).flatten(1)) + LOG_BIN


def analytic_terms(model: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Distortion -E_q[log p(x|z)] and rate KL(q|p) in closed form, each (b,)."""
    (W, b), s = weights(), torch.tensor(LOG_SCALE).exp()
    mean, log_std = mean_and_log_std(model.encoded(x, NO_CONTEXT))
    expected_log = Normal(mean @ W.T + b, s).log_prob(to_unit(x, LEVELS).flatten(1)).sum(1)
    spread = (log_std.exp().square() * W.square().sum(0)).sum(1) / (2 * s**2)  # tr(W S Wᵀ)/2s²
    rate = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).sum(1)
    return spread - expected_log - LOG_BIN, rate


def draws(model: VAE, x: Tensor, k: int, repeats: int = 1) -> Tensor:
    """log_prob of `k` draws, shape (repeats, k, b)."""
    return model.log_prob(x, draws=repeats * k).view(repeats, k, len(x))


def test_importance_bound_approaches_the_exact_likelihood():
    torch.manual_seed(0)
    model, x, k = linear_vae(), data(), 5_000
    bound = draws(model, x, k).logsumexp(1).squeeze(0) - log(k)
    elbo = -torch.stack(analytic_terms(model, x)).sum(0)
    assert (exact_log_prob(x) - elbo > 0.2).all()  # there is a gap to close
    torch.testing.assert_close(bound, exact_log_prob(x), atol=0.05, rtol=0)


def test_importance_bound_grows_with_the_draws():
    torch.manual_seed(0)
    model, x = linear_vae(), data()
    log_weight = draws(model, x, 50, repeats=400)
    bounds = {k: log_weight[:, :k].logsumexp(1) - log(k) for k in (1, 5, 50)}  # (repeats, b)
    means = [bound.mean(0) for bound in bounds.values()]
    errors = [bound.std(0) / 400**0.5 for bound in bounds.values()]
    for lower, higher, error in zip(means, [*means[1:], exact_log_prob(x)], errors, strict=True):
        assert (lower <= higher + 3 * error).all()
    assert (means[2] - means[0] > 0.2).all()


def test_mean_of_draws_is_the_analytic_elbo():
    torch.manual_seed(0)
    model, x, k = linear_vae(), data(), 5_000
    log_weight = draws(model, x, k)[0]
    error = 5 * log_weight.std(0) / k**0.5 + 1e-3
    assert ((log_weight.mean(0) + torch.stack(analytic_terms(model, x)).sum(0)).abs() < error).all()


def test_importance_weighted_loss_is_the_exact_likelihood_for_many_draws():
    torch.manual_seed(0)
    model, x = linear_vae(ImportanceWeighted(draws=5_000)), data()
    torch.testing.assert_close(-model.loss(x)["loss"], exact_log_prob(x), atol=0.05, rtol=0)


def test_importance_weighted_loss_is_the_log_mean_of_the_weights_and_trains_all_of_the_model():
    model, x, k = linear_vae(ImportanceWeighted(draws=3)), data(), 3
    torch.manual_seed(1)
    loss = model.loss(x)["loss"]
    torch.manual_seed(1)  # the same noise
    log_w = model.log_prob(x.repeat_interleave(k, 0)).view(len(x), k)
    torch.testing.assert_close(loss, -log_w.exp().mean(1).log())
    loss.sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in (model.encoder.layers[-1].weight, model.decoder.layers[-1].weight))


def test_elbo_of_several_draws_is_the_mean_of_their_losses():
    several, single, x, k = linear_vae(elbo(4, 2.0)), linear_vae(elbo(1, 2.0)), data(), 4
    torch.manual_seed(2)
    loss = several.loss(x)["loss"]
    torch.manual_seed(2)  # the same noise
    torch.testing.assert_close(loss, single.loss(x.repeat_interleave(k, 0))["loss"].view(len(x), k).mean(1))


def test_no_draws_are_refused():
    with pytest.raises(UserError, match="draws is 0"):
        ImportanceWeighted(draws=0)


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_loss_is_distortion_plus_beta_rate(beta):
    torch.manual_seed(0)
    model, x, k = linear_vae(elbo(1, beta)), data(), 5_000
    terms = {name: term.view(k, len(x)) for name, term in model.loss(x.repeat(k, 1, 1, 1)).items()}
    distortion, rate = analytic_terms(model, x)
    torch.testing.assert_close(terms["rate"].mean(0), rate, atol=1e-4, rtol=1e-4)
    error = 5 * terms["loss"].std(0) / k**0.5 + 1e-3
    assert ((terms["loss"].mean(0) - distortion - beta * rate).abs() < error).all()


def test_kl_equals_monte_carlo():
    torch.manual_seed(0)
    mean, log_std, k = torch.randn(3, 4), 0.7 * torch.randn(3, 4), 50_000
    q = Normal(mean, log_std.exp())
    z = q.sample((k,))
    ratio = (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(2)  # (k, 3)
    assert (
        (ratio.mean(0) - GaussianPosterior().kl_to_standard_normal(torch.cat([mean, log_std], 1))).abs()
        < 5 * ratio.std(0) / k**0.5
    ).all()


def test_samples_have_the_marginal_moments():
    torch.manual_seed(0)
    u = to_unit(linear_vae().sample(20_000), LEVELS).flatten(1)
    W, b = weights()
    torch.testing.assert_close(u.mean(0), b, atol=0.02, rtol=0)
    covariance = W @ W.T + torch.tensor(LOG_SCALE).exp() ** 2 * torch.eye(D)
    torch.testing.assert_close(u.T.cov(), covariance, atol=0.005, rtol=0)


def test_codes_are_posterior_means_and_decode_to_modes():
    model, x = linear_vae(), data()
    z = model.encode(x)
    torch.testing.assert_close(z, mean_and_log_std(model.encoded(x, NO_CONTEXT))[0])
    assert torch.equal(model.decode(z), model.likelihood.mode(model.decoder(z, NO_CONTEXT)))


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sizes", [{}, {"vector": 11}])
@pytest.mark.parametrize("multipliers", [[1], [1, 2, 2]])
def test_convolutional_networks_fit_images_of_any_size(size, channels, sizes, multipliers):
    facts = {"shape": [channels, size, size], "latent_dim": 5, "width": 4, "blocks": 1, "context": sizes}
    context = Context(vector=torch.randn(2, 11)) if sizes else NO_CONTEXT
    encoder = ConvEncoder(**facts, multipliers=multipliers, posterior=GaussianPosterior())
    decoder = ConvDecoder(**facts, multipliers=multipliers, likelihood=DiscretizedLogistic(levels=256))
    assert encoder(torch.rand(2, channels, size, size), context).shape == (2, 10)
    assert decoder(torch.randn(2, 5), context).shape == (2, 2 * channels, size, size)


@pytest.mark.parametrize("name", ["vae", "vae_mlp"])
def test_labels_change_the_likelihood_and_are_asked_for(name):
    model = build_model(name, "model/conditioner=label").eval()
    x, labels = torch.randint(17, (2, 1, 8, 8)).to(torch.uint8), torch.tensor([[0, 1], [1, 2]])
    one, other = ({"label": y} for y in labels)
    assert (model.encode(x, one) != model.encode(x, other)).any(1).all()
    z = torch.randn(2, model.latent_dim)
    shown = [model.decoder(z, model.conditioner(condition)) for condition in (one, other)]
    assert (shown[0] != shown[1]).flatten(1).any(1).all()
    with pytest.raises(UserError, match="label"):
        model.log_prob(x)
    assert not can(model, Compresses)


def test_paper_network_by_configuration():
    model = build_model("vae_mlp", "model/likelihood=bernoulli", shape=(1, 28, 28), levels=2)
    assert isinstance(model.likelihood, Bernoulli)
    widths = [layer.out_features for net in (model.encoder, model.decoder) for layer in net.layers[::2]]
    assert widths == [200, 200, 2 * 50, 200, 200, 784]


def test_hidden_units_of_a_dark_image_begin_where_the_tanh_is_steep():
    torch.manual_seed(0)
    facts = {"shape": (1, 28, 28), "latent_dim": 5, "widths": [200], "activation": "tanh", "context": {}}
    encoder = MLPEncoder(**facts, posterior=GaussianPosterior())
    x = -torch.ones(8, 1, 28, 28)
    x[:, :, 10:20, 10:20] = 1
    hidden = []
    encoder.layers[1].register_forward_hook(lambda *args: hidden.append(args[2]))
    encoder(x, NO_CONTEXT)
    assert hidden[0].abs().mean() < 0.5  # of inputs on [-1, 1] the many that never change would make it 0.7


# Planar posteriors


def planar_params(d: int, maps: int, scale: float = 1.0, b: int = 3) -> Tensor:
    """Numbers of an encoder whose maps bend a lot; some of its u are far from invertible."""
    posterior = Planar(layers=maps)
    with seeded(0, d, maps):
        params = scale * torch.randn(b, posterior.numbers(d))
    params[:, d : 2 * d] *= 0.3
    return params.double()


def one_bent(z: Tensor, maps: Tensor) -> Tensor:
    return bent(z[None, None], maps)[0][0, 0]


def test_ladj_of_planar_maps_is_that_of_the_jacobian():
    posterior, z = Planar(layers=4), torch.randn(3, 2, 5, dtype=torch.float64)
    _, maps = posterior.split(planar_params(5, 4, 3.0, b=2))
    _, ladj = bent(z, maps)
    for k in range(3):
        for i in range(2):
            J = torch.autograd.functional.jacobian(
                lambda z, i=i: bent(z[None, None], maps[i : i + 1])[0][0, 0], z[k, i]
            )
            assert torch.det(J) > 0
            torch.testing.assert_close(ladj[k, i], torch.linalg.slogdet(J).logabsdet)


def test_density_of_a_planar_posterior_integrates_to_one_in_one_dimension():
    """log q of draws on a fine grid of the base's noise, transported: the trapezoids under q(z) add up to 1."""
    params, posterior = planar_params(1, 3, 2.0), Planar(layers=3)
    base, maps = posterior.split(params)
    mean, log_std = mean_and_log_std(base)
    noise = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None, None]
    z, ladj = bent(mean + log_std.exp() * noise, maps)
    q = (Normal(0.0, 1.0).log_prob(noise[:, :, 0]) - log_std[:, 0] - ladj).exp()
    assert (z.diff(dim=0) > 0).all(), "the maps are invertible"
    torch.testing.assert_close(
        torch.trapezoid(q, z[:, :, 0], dim=0), torch.ones(3, dtype=torch.float64), atol=1e-4, rtol=0
    )


def test_density_of_planar_draws_is_that_of_their_histogram():
    """In two dimensions, where no grid of noise is one of z."""
    params, posterior, k = planar_params(2, 3, 1.5, b=1), Planar(layers=3), 400_000
    torch.manual_seed(0)
    z, log_q = posterior.draw(params.float(), k)
    inside = ((z[:, 0] - z[:, 0].median(0).values).abs() < 0.4).all(1)
    area = (1 / log_q[:, 0].exp())[inside].sum() / k  # E_q[1/q over the square] = its area
    torch.testing.assert_close(area, torch.tensor(0.64), atol=0.02, rtol=0)


@pytest.mark.parametrize("posterior", [Planar(layers=2), GaussianPosterior()])
@pytest.mark.parametrize("vamp", [False, True])
def test_importance_bound_of_other_parts_approaches_the_exact_likelihood(posterior, vamp):
    if vamp and isinstance(posterior, Planar):
        with pytest.raises(UserError, match="mixture of q"):
            linear_vae(posterior=posterior, prior=VampPrior(shape=[1, 2, 2], levels=LEVELS, components=3))
        return
    torch.manual_seed(0)
    prior = VampPrior(shape=[1, 2, 2], levels=LEVELS, components=3) if vamp else StandardNormal(latent_dim=2)
    model, x, k = linear_vae(posterior=posterior, prior=prior), data(), 20_000
    if vamp:
        model.prior.initialise(x)
    exact = exact_log_prob_of_mixture(model, x) if vamp else exact_log_prob(x)
    log_weight = model.log_prob(x, draws=k)
    assert (exact - log_weight.mean(0) > 0.05).all()  # there is a gap to close
    torch.testing.assert_close(log_weight.logsumexp(0) - log(k), exact, atol=0.1, rtol=0)
    terms = model.loss(x)
    error = 6 * log_weight.std(0)  # of a single draw
    assert ((terms["loss"] + log_weight.mean(0)).abs() < error).all()


def exact_log_prob_of_mixture(model: VAE, x: Tensor) -> Tensor:
    """As `exact_log_prob`, where z comes from a mixture of Gaussians: each makes x Gaussian, with W S Wᵀ + s² I."""
    (W, b), s = weights(), torch.tensor(LOG_SCALE).exp()
    mean, log_std = (each.detach() for each in model.gaussian_at(model.prior.inputs.detach()))
    u = to_unit(x, LEVELS).flatten(1)
    logs = [
        MultivariateNormal(W @ m + b, W @ torch.diag(std.square()) @ W.T + s**2 * torch.eye(D)).log_prob(u)
        for m, std in zip(mean, log_std.exp(), strict=True)
    ]
    return torch.stack(logs).logsumexp(0) - log(len(logs)) + LOG_BIN


# VampPrior


@pytest.mark.parametrize("d", [1, 2])
def test_vampprior_integrates_to_one_and_samples_what_it_says(d):
    prior = VampPrior(shape=[1, 1, 3], levels=17, components=4)
    with seeded(0):
        W = torch.randn(3, 2 * d)

    def q(u: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = (8 * u.flatten(1) @ W).chunk(2, dim=1)
        return mean, log_std.clamp(-1, 1)

    prior.initialise(torch.tensor([[[[0, 5, 16]]], [[[3, 16, 1]]]], dtype=torch.uint8))  # fewer than pseudo-inputs
    assert prior.inputs.abs().max() <= 1 and len(prior.inputs.unique(dim=0)) == 4
    axis = torch.linspace(-40, 40, 801 if d == 2 else 20_001)
    z = torch.cartesian_prod(*[axis] * d).view(-1, 1, d)
    density = prior.log_prob(z, q)[:, 0].exp()
    volume = (axis[1] - axis[0]) ** d
    torch.testing.assert_close(density.sum() * volume, torch.tensor(1.0), atol=1e-3, rtol=0)
    with seeded(1):
        draws = prior.sample(100_000, GLOBAL, 1.0, q)
    first = density @ z[:, 0] * volume
    second = density @ z[:, 0].square() * volume
    torch.testing.assert_close(draws.mean(0), first, atol=0.2, rtol=0.02)
    torch.testing.assert_close(draws.square().mean(0), second, rtol=0.05, atol=0)
    with seeded(1):
        cold = prior.sample(10_000, GLOBAL, 1e-3, q)
    to_means = torch.cdist(cold, q(prior.inputs)[0])
    assert to_means.amin(1).max() < 0.05 and len(to_means.argmin(1).unique()) == 4


def test_only_a_prior_that_begins_at_data_asks_for_them():
    assert [type(part) for part in initialisers(build_model("vampprior", "model.prior.components=3"))] == [VampPrior]
    assert not initialisers(build_model("vae"))


# What steers training and sampling


def test_the_weight_of_the_rate_rises_with_the_clock():
    objective = elbo(beta=2.0, warmup_steps=10)
    one, terms = torch.ones(1, 1), {}
    for step in (0, 5, 10, 1000):
        objective.at(Clock(step, 0, -1))
        terms[step] = float(objective(-3 * one, one, one[0])["loss"])
    assert terms == {0: 3.0, 5: 4.0, 10: 5.0, 1000: 5.0}
    model = linear_vae(objective)
    model.at(Clock(5, 0, -1))
    assert objective.weight == 1.0
    with pytest.raises(UserError, match="warmup_steps is -1"):
        elbo(warmup_steps=-1)


def test_temperature_scales_the_spread_of_the_prior():
    model = linear_vae()
    model.use(Direct(temperature=0.5, truncation=None))
    torch.manual_seed(0)
    u = to_unit(model.sample(20_000), LEVELS).flatten(1)
    W, _ = weights()
    covariance = W @ W.T / 4 + torch.tensor(LOG_SCALE).exp() ** 2 * torch.eye(D)
    torch.testing.assert_close(u.T.cov(), covariance, atol=0.004, rtol=0)
    with pytest.raises(UserError, match="truncation"):
        model.use(Direct(temperature=1.0, truncation=0.5))


# As a first stage


def test_a_compressed_image_and_its_code_add_up_to_a_draw_of_the_bound():
    torch.manual_seed(0)
    model, x, k = linear_vae(), data(), 5_000
    u, correction = model.compress(x.repeat(k, 1, 1, 1))
    log_weight = (Normal(0.0, 1.0).log_prob(u).sum(1) + correction).view(k, len(x))
    torch.testing.assert_close(log_weight.logsumexp(0) - log(k), exact_log_prob(x), atol=0.06, rtol=0)
    assert model.decompress(u[:5]).shape == x.shape


@pytest.mark.parametrize(("size", "places"), [(8, (2, 2)), (28, (7, 7))])
def test_codes_can_be_laid_out_in_space(size, places):
    overrides = ["model/encoder=spatial", "model/decoder=spatial", f"model.latent_dim={3 * places[0] ** 2}"]
    model = build_model("vae", *overrides, shape=(1, size, size))
    x = torch.randint(17, (2, 1, size, size)).to(torch.uint8)
    u, _ = model.compress(x)
    assert model.code.shape == u.shape[1:] == (3, *places)
    assert model.encode(x).shape == u.flatten(1).shape
    assert model.decompress(u).shape == x.shape


def test_codes_that_do_not_fit_into_space_are_refused():
    spatial = ["model/encoder=spatial", "model/decoder=spatial"]
    with pytest.raises(UserError, match="latent_dim is 30, expected a multiple of the 2x2 places"):
        build_model("vae", *spatial, "model.latent_dim=30")
    with pytest.raises(UserError, match="model/posterior=gaussian"):
        build_model("vae_planar", *spatial, "model.posterior.layers=1")
    with pytest.raises(UserError, match="takes images"):
        build_model("vae", shape=(16,))
