"""The VAE's bounds on a linear-Gaussian model, whose likelihood and ELBO have closed forms."""

from math import log

import hydra
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from genmodels.errors import UserError
from genmodels.models.vae import VAE, kl_to_standard_normal
from genmodels.nn.conv import ConvDecoder, ConvEncoder
from genmodels.nn.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian
from genmodels.nn.mlp import MLPDecoder, MLPEncoder
from genmodels.nn.vae_objectives import ELBO, ImportanceWeighted, Objective
from genmodels.units import to_unit
from tests.helpers import compose_model

D, LOG_SCALE, LEVELS = (
    4,
    -1.8,
    256,
)  # entries; log s of the noise, some 20 levels; so the sum over a bin is width x density
LOG_BIN = D * log(2 / (LEVELS - 1))


def linear_vae(objective: Objective | None = None) -> VAE:
    """x = W z + b + s noise on [-1, 1], in bins, and a posterior that is linear and deliberately not the best."""
    facts = {"shape": [1, 2, 2], "latent_dim": 2, "hidden": [], "activation": "tanh", "classes": None}
    likelihood = Gaussian(levels=LEVELS)
    encoder, decoder = MLPEncoder(**facts), MLPDecoder(**facts, likelihood=likelihood)
    with torch.no_grad():
        head, (W, b) = decoder.layers[-1], weights()
        head.weight.copy_(torch.cat([W, torch.zeros(D, 2)]))
        head.bias.copy_(torch.cat([b, torch.full((D,), LOG_SCALE)]))
        noise = torch.tensor(LOG_SCALE).exp() ** 2 * torch.eye(D)
        best = W.T @ torch.linalg.inv(W @ W.T + noise)  # E[z|x] = best (u - b)
        tail = encoder.layers[-1]
        tail.weight.copy_(torch.cat([0.8 * best, torch.zeros(2, D)]))
        tail.bias.copy_(torch.cat([-0.8 * best @ b, torch.tensor([-0.3, -0.4])]))
    return VAE(
        encoder=encoder,
        decoder=decoder,
        likelihood=likelihood,
        objective=objective or ELBO(draws=1, beta=1.0),
        latent_dim=2,
        conditional=False,
        classes=None,
    )


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
    (W, b), (mean, log_std), s = weights(), model.posterior(x, None), torch.tensor(LOG_SCALE).exp()
    expected_log = Normal(mean @ W.T + b, s).log_prob(to_unit(x, LEVELS).flatten(1)).sum(1)
    spread = (log_std.exp().square() * W.square().sum(0)).sum(1) / (2 * s**2)  # tr(W S Wᵀ)/2s²
    rate = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).sum(1)
    return spread - expected_log - LOG_BIN, rate


def draws(model: VAE, x: Tensor, k: int, repeats: int = 1) -> Tensor:
    """log_prob of `k` draws, shape (repeats, k, b)."""
    return model.log_prob(x.repeat(repeats * k, 1, 1, 1)).view(repeats, k, len(x))


def test_importance_bound_approaches_the_exact_likelihood():
    torch.manual_seed(0)
    model, x, k = linear_vae(), data(), 20_000
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
    model, x, k = linear_vae(), data(), 20_000
    log_weight = draws(model, x, k)[0]
    error = 5 * log_weight.std(0) / k**0.5 + 1e-3
    assert ((log_weight.mean(0) + torch.stack(analytic_terms(model, x)).sum(0)).abs() < error).all()


def test_importance_weighted_loss_is_the_exact_likelihood_for_many_draws():
    torch.manual_seed(0)
    model, x = linear_vae(ImportanceWeighted(draws=200_000)), data()
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
    several, single, x, k = linear_vae(ELBO(draws=4, beta=2.0)), linear_vae(ELBO(draws=1, beta=2.0)), data(), 4
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
    model, x, k = linear_vae(ELBO(draws=1, beta=beta)), data(), 20_000
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
    assert ((ratio.mean(0) - kl_to_standard_normal(mean, log_std)).abs() < 5 * ratio.std(0) / k**0.5).all()


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
    torch.testing.assert_close(z, model.posterior(x, None)[0])
    assert torch.equal(model.decode(z), model.likelihood.mode(model.decoder(z, None)))


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [None, 10])
@pytest.mark.parametrize("multipliers", [[1], [1, 2, 2]])
def test_convolutional_networks_fit_images_of_any_size(size, channels, classes, multipliers):
    facts = {"shape": [channels, size, size], "latent_dim": 5, "width": 4, "blocks": 1, "classes": classes}
    y = None if classes is None else torch.arange(2)
    encoder = ConvEncoder(**facts, multipliers=multipliers)
    decoder = ConvDecoder(**facts, multipliers=multipliers, likelihood=DiscretizedLogistic(levels=256))
    assert encoder(torch.rand(2, channels, size, size), y).shape == (2, 10)
    assert decoder(torch.randn(2, 5), y).shape == (2, 2 * channels, size, size)


@pytest.mark.parametrize("name", ["vae", "vae_mlp"])
def test_labels_change_the_likelihood_and_are_asked_for(name):
    torch.manual_seed(0)
    model = hydra.utils.instantiate(compose_model(name, "model.conditional=true").model)
    x, labels = torch.randint(17, (2, 1, 8, 8)).to(torch.uint8), torch.tensor([[0, 1], [1, 2]])
    assert (model.encode(x, labels[0]) != model.encode(x, labels[1])).any(1).all()
    z = torch.randn(2, model.latent_dim)
    assert (model.decoder(z, labels[0]) != model.decoder(z, labels[1])).flatten(1).any(1).all()
    with pytest.raises(UserError, match="labels"):
        model.log_prob(x)


def test_paper_network_by_configuration():
    cfg = compose_model("vae_mlp", "model/likelihood=bernoulli", shape=(1, 28, 28), levels=2)
    model = hydra.utils.instantiate(cfg.model)
    assert isinstance(model.likelihood, Bernoulli)
    widths = [layer.out_features for net in (model.encoder, model.decoder) for layer in net.layers[::2]]
    assert widths == [200, 200, 2 * 50, 200, 200, 784]


def test_hidden_units_of_a_dark_image_begin_where_the_tanh_is_steep():
    torch.manual_seed(0)
    encoder = MLPEncoder(shape=(1, 28, 28), latent_dim=5, hidden=[200], activation="tanh", classes=None)
    x = -torch.ones(8, 1, 28, 28)
    x[:, :, 10:20, 10:20] = 1
    hidden = []
    encoder.layers[1].register_forward_hook(lambda *args: hidden.append(args[2]))
    encoder(x, None)
    assert hidden[0].abs().mean() < 0.5  # of inputs on [-1, 1] the many that never change would make it 0.7
