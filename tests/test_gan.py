"""The GAN's two games: losses as formulae, the gradient penalty's closed form, whose gradient goes where."""

import hydra
import pytest
import torch
from torch import Tensor, nn

from genmodels.errors import UserError
from genmodels.models.gan import GAN
from genmodels.nn.adversarial import NonSaturating, Wasserstein, gradient_penalty
from genmodels.nn.dcgan import DCGANDiscriminator, DCGANGenerator
from tests.helpers import compose_model

WGAN_GP = [
    "model/adversarial=wasserstein",
    "model.discriminator_steps=5",
    "model.gradient_penalty=10",
    "model.discriminator.normalization=none",
]


def dcgan(*overrides: str) -> GAN:
    torch.manual_seed(0)
    narrow = ["model.generator.width=8", "model.discriminator.width=8"]
    return hydra.utils.instantiate(compose_model("dcgan", *narrow, *overrides).model)


def images(n: int = 6) -> Tensor:
    return torch.randint(17, (n, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def has_gradient(module: nn.Module) -> list[bool]:
    return [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters()]


def test_losses_are_their_formulae():
    real, fake = torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([1.0, -4.0, 0.5])
    D_real, D_fake = real.sigmoid(), fake.sigmoid()
    loss = NonSaturating()
    torch.testing.assert_close(loss.discriminator(real, fake), -D_real.log() - (1 - D_fake).log())
    torch.testing.assert_close(loss.generator(fake), -D_fake.log())
    torch.testing.assert_close(Wasserstein().discriminator(real, fake), fake - real)
    torch.testing.assert_close(Wasserstein().generator(fake), -fake)


def test_non_saturating_loss_is_finite_at_extreme_logits():
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = NonSaturating().discriminator(logits, logits) + NonSaturating().generator(logits)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.isfinite().all() and gradient.isfinite().all()


@pytest.mark.parametrize("autocast", [False, True])
def test_gradient_penalty_of_a_linear_critic_has_its_closed_form(autocast):
    torch.manual_seed(0)
    critic, real, fake = nn.Linear(64, 1), torch.randn(5, 64), torch.randn(5, 64).bfloat16()
    norm = critic.weight.norm()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        critic(real)  # leaves bfloat16 weights in autocast's cache
        penalty = gradient_penalty(critic, real, fake)
    assert penalty.dtype == torch.float32
    torch.testing.assert_close(penalty, (norm - 1).square().expand(5), rtol=1e-5, atol=1e-7)
    (gradient,) = torch.autograd.grad(penalty.mean(), critic.weight)
    torch.testing.assert_close(gradient, 2 * (norm - 1) * critic.weight / norm, rtol=1e-5, atol=1e-6)


def test_gradient_penalty_is_taken_between_real_and_fake():
    real, fake = torch.full((2000, 1), -1.0), torch.full((2000, 1), 2.0)
    torch.manual_seed(0)
    root = gradient_penalty(lambda u: u.square() / 2 + u, real, fake).sqrt()  # ∇f = u + 1, so |∇f| - 1 = u where u > -1
    assert root.max() <= 2
    torch.testing.assert_close(root.mean(), torch.tensor(5 / 6), atol=0.05, rtol=0)  # E|u|, u uniform on (-1, 2)


def test_gradient_penalty_of_a_flat_critic_has_finite_gradients():
    scale = torch.zeros(1, requires_grad=True)
    penalty = gradient_penalty(lambda u: (scale * u).sum(1), torch.randn(3, 4), torch.randn(3, 4))
    (gradient,) = torch.autograd.grad(penalty.sum(), scale)
    assert torch.equal(penalty, torch.ones(3)) and gradient.isfinite().all()


@pytest.mark.parametrize("overrides", [[], WGAN_GP], ids=["dcgan", "wgan_gp"])
def test_each_players_loss_reaches_it(overrides):
    model, x = dcgan(*overrides), images()
    model.discriminator_loss(x)["loss"].mean().backward()
    assert not any(has_gradient(model.generator))
    # a critic's last bias shifts reals and fakes alike; biases do not enter a gradient penalty either
    reached = dict(zip(dict(model.discriminator.named_parameters()), has_gradient(model.discriminator), strict=True))
    assert all(reached[name] for name in reached if not (overrides and name == "head.bias"))
    model.zero_grad()
    model.generator_loss(x)["loss"].mean().backward()
    assert all(has_gradient(model.generator))


def test_generator_learns_from_a_frozen_discriminator():
    model = dcgan()
    model.discriminator.requires_grad_(False)
    model.generator_loss(images())["loss"].mean().backward()
    assert all(has_gradient(model.generator)) and not any(has_gradient(model.discriminator))


def test_wgan_gp_by_configuration():
    model = dcgan(*WGAN_GP)
    terms = model.discriminator_loss(images())
    assert (model.discriminator_steps, model.gradient_penalty) == (5, 10)
    expected = terms["fake_logit"] - terms["real_logit"] + 10 * terms["penalty"]
    torch.testing.assert_close(terms["loss"], expected)


def test_gradient_penalty_refuses_batch_norm():
    with pytest.raises(hydra.errors.InstantiationException) as error:
        dcgan("model.gradient_penalty=10")
    assert isinstance(error.value.__cause__, UserError) and "normalization=none" in str(error.value.__cause__)


def test_discriminator_refuses_more_halvings_than_the_image_has():
    with pytest.raises(UserError, match="depth 4"):
        DCGANDiscriminator(shape=[1, 8, 8], width=4, depth=4, normalization="none", classes=None)


def test_labels_change_images_and_logits():
    model = dcgan("model.conditional=true").eval()
    y, other = torch.zeros(6, dtype=torch.long), torch.ones(6, dtype=torch.long)
    z = torch.randn(6, model.latent_dim)
    assert (model.generator(z, y) != model.generator(z, other)).flatten(1).any(1).all()
    u = torch.rand(6, 1, 8, 8)
    assert (model.discriminator(u, y) != model.discriminator(u, other)).all()


def test_at_first_codes_change_images_more_than_labels():
    generator, y = dcgan("model.conditional=true").generator.eval(), torch.arange(10)  # else a class is one image
    z = torch.randn(10, 100)
    of_codes, of_labels = generator(z, y[:1].expand(10)), generator(z[:1].expand(10, -1), y)
    assert of_codes.std(0).mean() > 3 * of_labels.std(0).mean()


def test_sample_keeps_the_mode_and_batch_statistics_out_of_eval_mode():
    model = dcgan().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.sample(4)
    assert not model.training and all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    z = torch.randn(4, model.latent_dim)
    torch.testing.assert_close(model.generator(z, None)[:2], model.generator(z[:2], None))
    model.train().sample(4)
    assert model.training


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("classes", [None, 10])
def test_dcgan_fits_images_of_any_size(size, channels, depth, classes):
    facts = {"shape": [channels, size, size], "width": 4, "depth": depth, "classes": classes}
    y = None if classes is None else torch.arange(3)
    generator = DCGANGenerator(**facts, latent_dim=7)
    discriminator = DCGANDiscriminator(**facts, normalization="batch")
    u = generator(torch.randn(3, 7), y)
    assert u.shape == (3, channels, size, size) and u.abs().max() <= 1
    assert discriminator(u, y).shape == (3,)
