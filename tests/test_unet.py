"""The U-Net of DDPM: its published size, its shapes, what it refuses, and the precision it may run in."""

import math

import hydra
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genmodels.context import NO_CONTEXT, Context
from genmodels.errors import UserError
from genmodels.nn.layers.attention import AttentionBlock
from genmodels.nn.layers.time_embedding import sinusoids
from genmodels.nn.layers.unet import group_norm
from genmodels.nn.unet import UNet, UNetStage
from genmodels.parts.schedules import Linear
from tests.helpers import compose_model
from tests.test_diffusion import ddpm


def unet(shape=(1, 8, 8), width=8, multipliers=(1, 2), attention=(4,), context=(), groups=32):
    return UNet(
        shape=shape,
        width=width,
        multipliers=multipliers,
        blocks=1,
        attention_resolutions=attention,
        dropout=0.0,
        groups=groups,
        context=dict(context),
    )


def test_cifar10_configuration_has_the_papers_number_of_parameters():
    overrides = ["width=128", "multipliers=[1,2,2,2]", "attention_resolutions=[16]", "groups=32"]
    model = compose_model("ddpm", *(f"model.network.{o}" for o in overrides), shape=(3, 32, 32), sampler="ddim").model
    with torch.device("meta"):
        network = hydra.utils.instantiate(model.network)
    assert sum(p.numel() for p in network.parameters()) == 35_746_307


@pytest.mark.parametrize("channels, groups, used", [(128, 32, 32), (512, 32, 32), (8, 32, 2), (6, 4, 1), (48, 8, 8)])
def test_groups_of_norm_have_four_channels_or_more(channels, groups, used):
    assert group_norm(channels, groups).num_groups == used


@pytest.mark.parametrize("size, multipliers", [(8, (1, 2)), (28, (1, 1, 2)), (32, (1, 2, 2, 2)), (7, (1,))])
def test_network_keeps_the_shape_of_images(size, multipliers):
    x = torch.randn(2, 3, size, size)
    network = unet((3, size, size), width=6, multipliers=multipliers, attention=(size // 2,))
    assert network(x, torch.tensor([0, 999]), NO_CONTEXT).shape == x.shape


@pytest.mark.parametrize("shape, width", [((1, 28, 28), 8), ((1, 8, 12), 8), ((2,), 8), ((1, 8, 8), 7), ((1, 8, 8), 2)])
def test_sizes_that_the_network_cannot_have_are_refused(shape, width):
    with pytest.raises(UserError, match="U-Net"):
        unet(shape, width, multipliers=(1, 1, 1, 1))


def test_time_is_told_by_sines_and_cosines():
    expected = [[math.sin(3), math.sin(0.03), math.sin(3e-4), math.cos(3), math.cos(0.03), math.cos(3e-4)]]
    torch.testing.assert_close(sinusoids(torch.tensor([3]), 6), torch.tensor(expected))


def test_stage_is_the_papers_residual_block():
    torch.manual_seed(0)
    stage, x, emb = (
        UNetStage(8, 12, attention=False, emb=5, dropout=0.5, groups=2).eval(),
        torch.randn(2, 8, 4, 4),
        torch.ones(2, 5),
    )
    for p in stage.parameters():
        nn.init.normal_(p)
    p = dict(stage.named_parameters())
    h = F.conv2d(
        F.silu(F.group_norm(x, 2, p["norm1.weight"], p["norm1.bias"])), p["conv1.weight"], p["conv1.bias"], 1, 1
    )
    h = h + F.linear(F.silu(emb), p["emb.weight"], p["emb.bias"])[:, :, None, None]
    h = F.conv2d(
        F.silu(F.group_norm(h, 2, p["norm2.weight"], p["norm2.bias"])), p["conv2.weight"], p["conv2.bias"], 1, 1
    )
    torch.testing.assert_close(
        stage(x, emb), h + F.conv2d(x, p["shortcut.weight"], p["shortcut.bias"]), rtol=1e-4, atol=1e-3
    )


def test_attention_is_softmax_of_scaled_dot_products():
    torch.manual_seed(0)
    block, x = AttentionBlock(8, groups=2), torch.randn(3, 8, 4, 5)
    nn.init.normal_(block.proj.weight)
    q, k, v = block.qkv(block.norm(x)).flatten(2).transpose(1, 2).chunk(3, dim=2)  # (b, hw, c)
    h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(block(x), x + block.proj(h), rtol=1e-4, atol=1e-5)


def test_network_starts_near_zero_and_passes_gradients_to_every_parameter():
    torch.manual_seed(0)
    network = unet(attention=(8, 4), context={"vector": 10, "maps": 2})
    context = Context(vector=torch.randn(4, 10), maps=torch.randn(4, 2, 8, 8))
    out = network(torch.randn(4, 1, 8, 8), torch.rand(4) * 999, context)
    assert 0 < out.abs().max() < 1e-3
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


@pytest.mark.parametrize("width, groups", [(4, 32), (6, 1), (8, 32), (16, 16)])
def test_network_depends_on_time_vector_and_maps(width, groups):
    torch.manual_seed(0)
    network = unet(width=width, groups=groups, context={"vector": 10, "maps": 3})
    for p in network.parameters():
        nn.init.normal_(p, std=0.2)
    x, t, one = torch.randn(1, 1, 8, 8), torch.tensor([5]), torch.eye(10)[1:2]
    maps = torch.randn(1, 3, 8, 8)
    out = network(x, t, Context(vector=one, maps=maps))
    others = (
        network(x, t + 400, Context(vector=one, maps=maps)),
        network(x, t, Context(vector=one.roll(1, 1), maps=maps)),
        network(x, t, Context(vector=one, maps=maps.flip(3))),
    )
    for other in others:
        assert (out - other).abs().max() > 1e-3 * out.abs().max()
    torch.testing.assert_close(out, network(x, t.float(), Context(vector=one, maps=maps)))


def test_a_one_hot_vector_is_an_embedding_added_to_that_of_time():
    embed = unet(context={"vector": 10}).embed
    t, plain = torch.tensor([5]), embed(torch.tensor([5]), Context(vector=torch.zeros(1, 10)))
    torch.testing.assert_close(embed(t, Context(vector=torch.eye(10)[3:4])) - plain, embed.vector.weight[None, :, 3])
    assert 0.8 < embed.vector.weight.std() < 1.2


def test_a_context_that_the_network_cannot_take_is_refused():
    with pytest.raises(UserError, match="U-Net takes vector and maps"):
        unet(context={"tokens": 8})


def test_bfloat16_and_channels_last_change_only_the_rounding():
    torch.manual_seed(0)
    schedule = Linear(steps=10, beta_first=0.01, beta_last=0.5)
    model = ddpm(unet(), schedule, shape=(1, 8, 8))
    for p in model.parameters():
        nn.init.normal_(p, std=0.1)
    x = torch.randint(5, (8, 1, 8, 8)).to(torch.uint8)

    def score(model, precision):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision):
            return model.log_prob(x), model.loss(x)["loss"]

    plain, last, half = (
        score(model, False),
        score(model.to(memory_format=torch.channels_last), False),
        score(model, True),
    )
    for a, b, c in zip(plain, last, half, strict=True):
        assert c.dtype == torch.float32
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(a, c, rtol=0.1, atol=0.1)
