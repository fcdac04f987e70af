"""The GAN's two games: losses as formulae, the gradient penalty's closed form, whose gradient goes where."""

import pytest
import torch
from torch import Tensor, nn

from genmodels.capabilities import Clock, Prepares, can
from genmodels.context import NO_CONTEXT, Context
from genmodels.errors import UserError
from genmodels.models.gan import GAN, truncated_normal
from genmodels.nn.gan.dcgan import DCGANDiscriminator, DCGANGenerator
from genmodels.nn.layers.batch_norm import BatchNorm2d, standing_statistics
from genmodels.parts.adversarial import LeastSquares, NonSaturating, Wasserstein, gradient_penalty
from genmodels.samplers.direct import Direct
from genmodels.seeds import ByNumber
from tests.helpers import build_model

WGAN_GP = [
    "model/adversarial=wasserstein",
    "model.discriminator_steps=5",
    "model.gradient_penalty=10",
    "model.discriminator.normalization=none",
]


def dcgan(*overrides: str) -> GAN:
    return build_model("dcgan", "model.generator.width=8", "model.discriminator.width=8", *overrides)


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
    torch.testing.assert_close(LeastSquares().discriminator(real, fake), ((real - 1) ** 2 + fake**2) / 2)
    torch.testing.assert_close(LeastSquares().generator(fake), (fake - 1) ** 2)


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
    with pytest.raises(UserError, match="normalization=none"):
        dcgan("model.gradient_penalty=10")


def test_discriminator_refuses_more_halvings_than_the_image_has():
    with pytest.raises(UserError, match="4 halvings"):
        DCGANDiscriminator(shape=[1, 8, 8], width=4, halvings=4, normalization="none", context={})


LABELS = "model/conditioner=label"


def test_labels_change_images_and_logits():
    model = dcgan(LABELS).eval()
    context, other = (model.conditioner({"label": torch.full((6,), y)}) for y in (0, 1))
    z, u = torch.randn(6, model.latent_dim), torch.rand(6, 1, 8, 8)
    assert (model.generator(z, context) != model.generator(z, other)).flatten(1).any(1).all()
    assert (model.discriminator(u, context) != model.discriminator(u, other)).all()


def test_at_first_codes_change_images_more_than_labels():
    model = dcgan(LABELS).eval()  # else a class is one image
    z, context = torch.randn(10, 100), model.conditioner({"label": torch.arange(10)})
    of_codes = model.generator(z, model.conditioner({"label": torch.zeros(10, dtype=torch.long)}))
    of_labels = model.generator(z[:1].expand(10, -1), context)
    assert of_codes.std(0).mean() > 3 * of_labels.std(0).mean()


def test_the_critics_weights_are_clipped_after_its_own_steps():
    model, clock = build_model("wgan", "model.generator.width=8", "model.discriminator.width=8"), Clock(0, 0, 1)
    assert (model.discriminator_steps, model.weight_clip) == (5, 0.01)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
        model.after_step("generator", clock)
        assert all((p == 1).all() for p in model.parameters())
        model.after_step("discriminator", clock)
    assert all((p == 0.01).all() for p in model.discriminator.parameters())
    assert all((p == 1).all() for p in model.generator.parameters())


def test_truncated_draws_have_the_distribution_of_redrawn_ones():
    z = truncated_normal((torch.arange(100_000) + 0.5) / 100_000, 0.7)  # quantiles
    redrawn = torch.randn(400_000, generator=torch.Generator().manual_seed(0))
    redrawn = redrawn[redrawn.abs() <= 0.7].sort().values
    at = torch.linspace(0.01, 0.99, 50)
    assert z.abs().max() <= 0.7
    torch.testing.assert_close(z.quantile(at), redrawn[(at * len(redrawn)).long()], atol=0.01, rtol=0)
    assert truncated_normal(torch.zeros(3), 0.7).eq(-0.7).all()


def test_truncation_changes_samples_one_by_one():
    model = dcgan().eval()
    with torch.no_grad():
        for p in model.generator.parameters():
            p.mul_(5)  # of fresh weights all images are grey
    whole = model.sample(4, rng=ByNumber(0, 0, 4))
    model.use(Direct(temperature=1.0, truncation=0.5))
    truncated = model.sample(4, rng=ByNumber(0, 0, 4))
    assert not torch.equal(whole, truncated)
    assert torch.equal(truncated[2:], model.sample(2, rng=ByNumber(0, 2, 2)))
    assert model.sampling_protocol()["sampler_truncation"] == 0.5
    with pytest.raises(UserError, match="temperature"):
        model.use(Direct(temperature=0.5, truncation=None))


def test_standing_statistics_are_the_mean_of_the_batches():
    norm, batches = BatchNorm2d(3), torch.randn(4, 8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    momentum = norm.momentum
    norm(5 + batches[0])
    with standing_statistics(norm):
        for x in batches:
            norm(x)
    torch.testing.assert_close(norm.running_mean, batches.mean((0, 1, 3, 4)))
    torch.testing.assert_close(norm.running_var, batches.transpose(1, 2).flatten(2).var(2).mean(0))
    assert (norm.momentum, norm.alone, norm.training) == (momentum, False, False)


def test_a_gan_prepares_where_it_has_standing_statistics():
    assert not can(dcgan(), Prepares)
    model = dcgan("model.standing_batches=3").eval()
    assert can(model, Prepares)
    before = {name: b.clone() for name, b in model.named_buffers()}
    model.before_evaluation(iter([(images(), {})] * 9))
    changed = {name for name, b in model.named_buffers() if not b.equal(before[name])}
    assert changed and all(name.startswith("generator") for name in changed) and not model.training
    assert all(int(b) == 3 for name, b in model.generator.named_buffers() if "tracked" in name)


def test_sample_keeps_the_mode_and_batch_statistics_out_of_eval_mode():
    model = dcgan().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.sample(4)
    assert not model.training and all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    z = torch.randn(4, model.latent_dim)
    torch.testing.assert_close(model.generator(z, NO_CONTEXT)[:2], model.generator(z[:2], NO_CONTEXT))
    model.train().sample(4)
    assert model.training


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("halvings", [1, 2, 3])
@pytest.mark.parametrize("vector", [0, 11])
def test_dcgan_fits_images_of_any_size(size, channels, halvings, vector):
    facts = {
        "shape": [channels, size, size],
        "width": 4,
        "halvings": halvings,
        "context": {"vector": vector} if vector else {},
    }
    context = Context(vector=torch.eye(vector)[:3]) if vector else NO_CONTEXT
    generator = DCGANGenerator(**facts, latent_dim=7)
    discriminator = DCGANDiscriminator(**facts, normalization="batch")
    u = generator(torch.randn(3, 7), context)
    assert u.shape == (3, channels, size, size) and u.abs().max() <= 1
    assert discriminator(u, context).shape == (3,)


def test_dcgan_refuses_conditions_that_it_cannot_take():
    with pytest.raises(UserError, match="DCGAN's generator takes vector"):
        DCGANGenerator(shape=[1, 8, 8], width=4, halvings=1, context={"tokens": 8}, latent_dim=7)
