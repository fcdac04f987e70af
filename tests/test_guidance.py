"""Classifier-free guidance: its formula, its interval, what it needs, and what it does to samples."""

import pytest
import torch
from torch import nn

from genmodels.capabilities import Level
from genmodels.errors import UserError
from genmodels.parts.guidance import clipped, guided
from genmodels.parts.schedules import Linear
from genmodels.samplers.ddim import DDIM
from tests.test_diffusion import Affine, ddpm, label

SCHEDULE = Linear(steps=20, beta_first=1e-3, beta_last=0.4)


def level(ratio):
    return Level(torch.ones(()).double(), torch.tensor(ratio).double())


def good(x, level):
    return x + 1


def bad(x, level):
    return 2 * x


def ddim(guidance=1.0, interval=None, clip=True):
    return DDIM(steps=10, eta=0.0, guidance=guidance, guidance_interval=interval, clip=clip)


def test_guidance_is_the_papers_combination_within_its_interval():
    x = torch.randn(5, 3)
    expected = 2 * x + 3 * ((x + 1) - 2 * x)
    torch.testing.assert_close(guided(good, bad, 3.0)(x, level(9.0)), expected)
    inside = guided(good, bad, 3.0, [0.5, 2.0])
    torch.testing.assert_close(inside(x, level(1.0)), expected)
    for ratio in (0.4, 2.1):
        assert torch.equal(inside(x, level(ratio)), x + 1)
    mixed = inside(x, Level(torch.ones(5), torch.tensor([0.1, 1.0, 5.0, 0.5, 2.0])))
    torch.testing.assert_close(mixed, torch.where(torch.tensor([0, 1, 0, 1, 1]).bool()[:, None], expected, x + 1))


def test_ratio_counts_and_not_sigma():
    x = torch.randn(5, 3)
    no_signal = Level(torch.zeros(()), torch.ones(()))
    assert torch.equal(guided(good, bad, 3.0, [0.5, 2.0])(x, no_signal), x + 1)
    half = Level(torch.tensor(0.5), torch.tensor(0.3))  # 0.6
    assert not torch.equal(guided(good, bad, 3.0, [0.5, 2.0])(x, half), x + 1)


def test_the_worse_model_is_called_only_where_it_counts():
    calls = []

    def counted(x, level):
        calls.append(level)
        return 2 * x

    x = torch.randn(5, 3)
    assert guided(good, counted, 1.0) is good
    guided(good, counted, 2.0, [0.5, 2.0])(x, level(3.0))
    assert not calls
    guided(good, counted, 2.0, [0.5, 2.0])(x, level(1.0))
    assert len(calls) == 1


def test_clipping_is_to_the_range_where_there_is_one():
    x = torch.tensor([-3.0, 0.2, 5.0])
    assert clipped(good, (-1.0, 1.0))(x, level(1.0)).tolist() == pytest.approx([-1, 1, 1])
    assert clipped(good, None) is good


class Counted(Affine):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x, t, context):
        self.seen.append(context.vector.argmax(1).tolist())
        return super().forward(x, t, context)


def test_a_model_calls_its_network_twice_where_it_is_guided_and_once_elsewhere():
    model = ddpm(Counted(), SCHEDULE, conditioner=label(4, drop=0.1), sampler=ddim()).eval()
    condition = {"label": torch.tensor([0, 3])}
    for sampler, calls in [(ddim(), 10), (ddim(2.0), 20)]:
        model.use(sampler)
        model.network.seen.clear()
        model.sample(2, condition)
        assert len(model.network.seen) == calls and model.network.seen[0] == [0, 3]
    assert model.network.seen[1] == [4, 4]  # no label
    interval = [0.0, 1.0]
    model.use(ddim(2.0, interval))
    model.network.seen.clear()
    model.sample(2, condition)
    within = sum(bool(each.sigma / each.alpha <= 1) for each in model.process.grid(10)[:-1])
    assert 0 < within < 10 and len(model.network.seen) == 10 + within


class TwoClasses(nn.Module):
    """epsilon of data N(-0.5, 0.2²) of class 0 and N(0.5, 0.2²) of class 1, and of both together, exactly."""

    def __init__(self, process):
        super().__init__()
        self.process = process

    def forward(self, x, t, context):
        alpha, sigma = (part[:, None, None, None] for part in self.process.level(t))
        means, total = torch.tensor([-0.5, 0.5]), (0.2 * alpha) ** 2 + sigma**2
        logits = -((x[..., None] - alpha[..., None] * means) ** 2) / (2 * total[..., None])
        known = context.vector[:, None, None, None, :2]
        either = 1 - known.sum(-1, keepdim=True)
        weights = known + either * logits.softmax(-1)
        score = (weights * (alpha[..., None] * means - x[..., None]) / total[..., None]).sum(-1)
        return -sigma * score


def test_guidance_moves_samples_away_from_the_other_class():
    plain = ddpm(Affine(), SCHEDULE)
    model = ddpm(
        TwoClasses(plain.process),
        SCHEDULE,
        shape=(1, 1, 1),
        levels=256,
        conditioner=label(2, drop=0.1),
        sampler=ddim(clip=False),
    ).eval()
    condition, means = {"label": torch.ones(4000).long()}, []
    for scale in (1.0, 3.0):
        model.use(ddim(scale, clip=False))
        torch.manual_seed(0)
        means.append((model.sample(4000, condition).float().mean() / 127.5 - 1).item())
    assert means[0] == pytest.approx(0.5, abs=0.02) and means[1] > means[0] + 0.03, means


def test_guidance_needs_a_model_that_was_trained_with_dropped_conditions():
    with pytest.raises(UserError, match="trained without dropped conditions"):
        ddpm(Affine(), SCHEDULE, classes=4, sampler=ddim(2.0))
    with pytest.raises(UserError, match="is unconditional"):
        ddpm(Affine(), SCHEDULE, sampler=ddim(2.0))
    model = ddpm(Affine(), SCHEDULE, sampler=ddim())
    with pytest.raises(UserError, match="is unconditional"):
        model.use(ddim(0.0))
    assert model.sampler.guidance == 1


def test_training_drops_conditions_and_sampling_does_not():
    model = ddpm(Counted(), SCHEDULE, conditioner=label(4, drop=0.3), sampler=ddim())
    x, condition = torch.zeros(4000, 1, 1, 2, dtype=torch.uint8), {"label": torch.zeros(4000).long()}
    torch.manual_seed(0)
    model.train().loss(x, condition)
    assert abs(model.network.seen[-1].count(4) / 4000 - 0.3) < 0.03
    model.eval().sample(50, {"label": torch.zeros(50).long()})
    assert set(model.network.seen[-1]) == {0}


def test_every_setting_that_changes_samples_is_in_the_protocol():
    model = ddpm(Affine(), SCHEDULE, conditioner=label(4, drop=0.1), sampler=ddim(2.0, [0.1, 3.0]))
    expected = {
        "sampler": "ddim",
        "steps": 10,
        "eta": 0.0,
        "guidance": 2.0,
        "guidance_interval": [0.1, 3.0],
        "clip": True,
    }
    found = model.sampling_protocol()
    assert {name.removeprefix("sampler_"): value for name, value in found.items()} == expected
    model.use(ddim(1.0, [0.1, 3.0]))
    assert model.sampling_protocol()["sampler_guidance_interval"] is None
