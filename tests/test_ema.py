"""Averages of the weights: the rules as formulae, what is averaged, what a checkpoint holds, profiles."""

import pytest
import torch
from torch import nn

from genmodels.capabilities import Clock
from genmodels.errors import UserError
from genmodels.run.post_hoc import gamma_of
from genmodels.training.ema import EMA, Decay, HalfLife, Power

CLOCK = Clock(1, 64, 10)


class Parts(nn.Module):
    """A trained part, one that is named as not averaged, a frozen one, and statistics."""

    unaveraged = ("critic",)

    def __init__(self):
        super().__init__()
        self.trained, self.critic, self.frozen = nn.Linear(2, 2), nn.BatchNorm1d(2), nn.BatchNorm1d(2)
        self.frozen.requires_grad_(False)


def test_decay_is_the_formula():
    model = nn.Linear(1, 1, bias=False)
    ema = EMA(model, rule=Decay(decay=0.5))
    expected = model.weight.item()
    for k, weight in enumerate([3.0, -1.0, 2.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]):
        nn.init.constant_(model.weight, weight)
        ema.update(model, CLOCK)
        d = min(0.5, (1 + k) / (10 + k))  # 1/10, 2/11, ... 8/17, then 0.5
        expected = d * expected + (1 - d) * weight
    assert ema.model.weight.item() == pytest.approx(expected, rel=1e-6)
    assert int(ema.updates) == 9 and not ema.model.weight.requires_grad


def test_no_decay_is_no_average():
    assert Decay(decay=0.0).off and not Decay(decay=0.9).off and not Power(relative_std=0.1).off


def test_the_half_life_is_one():
    rule = HalfLife(half_life=640, ramp_up=None)
    weight = 1.0
    for step in range(1, 11):  # 64 images each
        weight *= rule(step - 1, Clock(step, 64 * step, -1))
    assert weight == pytest.approx(0.5)


def test_the_half_life_ramps_up():
    """As in the training loop of EDM: beta = 0.5 ** (batch / min(half_life, images before * ramp_up))."""
    rule = HalfLife(half_life=640, ramp_up=0.5)
    assert rule(0, Clock(1, 64, -1)) == 0
    assert rule(5, Clock(6, 384, -1)) == pytest.approx(0.5 ** (64 / 160))
    assert rule(99, Clock(100, 6400, -1)) == pytest.approx(0.5 ** (64 / 640))


@pytest.mark.parametrize("relative_std", [0.01, 0.05, 0.1, 0.25])
def test_the_power_profile_has_its_width(relative_std):
    """The weights of theta(1), ..., theta(t) in the average, of which mean and deviation are taken."""
    rule, t = Power(relative_std=relative_std), 4000
    kept = [rule(k, CLOCK) for k in range(t)]
    d = torch.tensor(kept, dtype=torch.float64)
    shares = (1 - d) * torch.cat([d.flip(0).cumprod(0).flip(0)[1:], torch.ones(1, dtype=torch.float64)])
    time = torch.arange(1, t + 1, dtype=torch.float64) / t
    mean = (shares * time).sum()
    assert kept[0] == 0 and shares.sum() == pytest.approx(1)
    assert ((shares * (time - mean) ** 2).sum() ** 0.5).item() == pytest.approx(relative_std, rel=0.02)
    assert mean.item() == pytest.approx((gamma_of(relative_std) + 1) / (gamma_of(relative_std) + 2), rel=0.01)


def test_what_no_profile_has_is_refused():
    with pytest.raises(UserError, match="below 0.2886"):
        Power(relative_std=0.3)
    with pytest.raises(UserError, match="above 0"):
        HalfLife(half_life=0, ramp_up=None)


def test_it_goes_on_where_it_was():
    model = nn.Linear(2, 2)
    whole = EMA(model, rule=Decay(decay=0.9))
    whole.update(model, CLOCK)
    resumed = EMA(nn.Linear(2, 2), rule=Decay(decay=0.9))
    resumed.load_state_dict(whole.state_dict())
    nn.init.zeros_(model.weight)
    whole.update(model, CLOCK)
    resumed.update(model, CLOCK)
    assert torch.equal(whole.model.weight, resumed.model.weight)


def test_it_copies_buffers_and_stays_in_eval_mode():
    model = nn.BatchNorm1d(2)
    ema = EMA(model, rule=Decay(decay=0.9))
    model(torch.randn(8, 2))
    ema.update(model, CLOCK)
    assert torch.equal(ema.model.running_mean, model.running_mean) and ema.model.num_batches_tracked == 1
    assert not ema.train().model.training


def test_a_buffer_that_is_replaced_is_followed():
    model = nn.BatchNorm1d(2)
    ema = EMA(model, rule=Decay(decay=0.5))
    for value in (1.0, 2.0, 3.0):
        model.running_mean = torch.full((2,), value)
        ema.update(model, CLOCK)
        assert ema.model.running_mean.tolist() == [value, value]


def test_only_what_is_trained_and_meant_is_averaged():
    model = Parts()
    ema = EMA(model, rule=Decay(decay=0.9))
    assert {name.split(".")[1] for name in ema.state_dict() if name != "updates"} == {"trained"}
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    ema.update(model, CLOCK)
    assert model.critic.weight.requires_grad and ema.model.critic.weight is model.critic.weight
    assert ema.model.frozen.weight is model.frozen.weight
    assert not ema.model.trained.weight.equal(model.trained.weight) and not ema.model.trained.weight.requires_grad
    model.critic(torch.randn(8, 2))
    assert torch.equal(ema.follow(model).critic.running_mean, model.critic.running_mean)
    assert model.critic.training and not ema.model.critic.training


def test_a_checkpoint_is_the_raw_state_with_the_averages_over_it():
    model = nn.ModuleDict({"model": Parts()})
    model["ema"] = EMA(model["model"], rule=Decay(decay=0.9))
    nn.init.ones_(model["model"].trained.weight)
    model["ema"].update(model["model"], CLOCK)
    model["model"].critic(torch.randn(8, 2))
    state = model.state_dict()
    other = nn.ModuleDict({"model": Parts()})
    other["ema"] = EMA(other["model"], rule=Decay(decay=0.9))
    other.load_state_dict(state)  # strictly
    raw, ema = ({k.removeprefix(p): v for k, v in state.items() if k.startswith(p)} for p in ("model.", "ema.model."))
    evaluated = other["ema"].follow(other["model"]).state_dict()
    assert evaluated.keys() == (raw | ema).keys()
    assert all(torch.equal(evaluated[name], value) for name, value in (raw | ema).items())


def test_it_starts_from_weights_that_data_have_set():
    model = Parts()
    ema = EMA(model, rule=Decay(decay=0.9))
    nn.init.ones_(model.trained.weight)
    model.frozen.running_mean.fill_(3.0)
    ema.start_from(model)
    assert ema.model.trained.weight.eq(1).all() and ema.model.frozen.running_mean.eq(3).all() and ema.updates == 0
