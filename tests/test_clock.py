"""What follows the clock: when each hook is called, in both ways of training, with skipped steps, at a resume."""

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pytorch_lightning import Callback
from torch import nn

from genmodels.capabilities import NO_CONDITION, Clock, FollowsClock, HasLoss, HasPlayers, Initialises, Player, Prepares
from genmodels.clock import clock_of, followers, set_clock
from genmodels.engine import build
from genmodels.engine.train import train
from genmodels.training.hooks import prepare_model
from tests.helpers import train_config
from tests.test_resume import assert_same_run, last, resumed

CALLS: list[tuple[Any, ...]] = []  # of the model that trains
BATCH = 64


class Part(nn.Module, FollowsClock):
    """A part of a model that follows the clock: a weight that warms up, and a sum that steps add to."""

    total: torch.Tensor

    def __init__(self):
        super().__init__()
        self.weight = 0.0
        self.register_buffer("total", torch.zeros((), dtype=torch.int64))

    def at(self, clock: Clock) -> None:
        self.weight = min(1.0, clock.step / 3)
        CALLS.append(("at", *clock))

    def after_step(self, player: str, clock: Clock) -> None:
        self.total += clock.images_seen
        CALLS.append((player, *clock))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.part = nn.Linear(64, 1), Part()
        self.register_buffer("mean", torch.zeros(64))
        self.register_buffer("prepared", torch.zeros(64))
        self.trap = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.layer(x.flatten(1).float() - self.mean)[:, 0].square() * (1 + self.part.weight)
        return out + (torch.nan if self.trap else 0)


class Model(Net, HasLoss, Initialises, Prepares):
    firsts: ClassVar[list[Any]] = []

    def loss(self, x, condition=NO_CONDITION):
        return {"loss": self(x)}

    def initialise(self, x, condition=NO_CONDITION):
        self.firsts.append((x.clone(), condition["label"].clone()))
        self.mean.copy_(x.flatten(1).float().mean(0) + torch.rand(64))
        self.layer.bias.fill_(3.0)

    def before_evaluation(self, batches):
        x, _ = next(iter(batches))
        self.prepared.copy_(x.flatten(1).float().mean(0))


class Game(Net, HasPlayers):
    def __init__(self):
        super().__init__()
        self.rival = nn.Linear(64, 1)

    def players(self):
        return [Player("rival", [self.rival], self.rival_loss, 1), Player("self", [self.layer], self.own_loss, 2)]

    def rival_loss(self, x, condition=NO_CONDITION):
        return {"loss": self.rival(x.flatten(1).float())[:, 0].square()}

    def own_loss(self, x, condition=NO_CONDITION):
        return {"loss": self(x) + self.rival_loss(x)["loss"]}


def run(folder: Path, kind: type[nn.Module], steps: int, *overrides: str, **more: Any) -> dict:
    CALLS.clear()
    config = train_config(folder, f"trainer.max_steps={steps}", "trainer.log_every_n_steps=1", *overrides)
    config |= {"model": {"_target_": f"tests.test_clock.{kind.__name__}"}}
    train({**config, "callbacks": config["callbacks"] | more})
    return last(folder)


def test_descent_calls_them_around_every_step(tmp_path):
    run(tmp_path, Model, 3)
    steps = [[("at", i, BATCH * i, 3), ("model", i + 1, BATCH * (i + 1), 3)] for i in range(3)]
    assert [call for step in steps for call in step] == CALLS


def test_accumulation_calls_them_around_every_step(tmp_path):
    run(tmp_path, Model, 2, "trainer.accumulate_grad_batches=2")
    assert CALLS[:4] == [("at", 0, 0, 2), ("model", 1, 64, 2), ("at", 1, 64, 2), ("model", 2, 128, 2)]


def test_each_player_of_a_game_calls_them(tmp_path):
    """A step is one of the last player, every second batch."""
    run(tmp_path, Game, 2)
    assert CALLS[:5] == [
        ("at", 0, 0, 2),
        ("rival", 0, 64, 2),
        ("at", 0, 64, 2),
        ("rival", 0, 128, 2),
        ("self", 1, 128, 2),
    ]
    assert len(CALLS) == 10


def test_steps_that_are_left_out_call_nothing(tmp_path):
    trap = {"_target_": "tests.test_clock.TrapAt", "batch": 1}
    after = run(tmp_path, Model, 3, "nan_policy=skip", trap=trap)
    assert [call[0] for call in CALLS] == ["at", "model", "at", "at", "model"]
    assert int(after["state_dict"]["model.part.total"]) == 64 + 192


class TrapAt(Callback):
    """Makes the loss of one batch nan."""

    def __init__(self, *, batch: int):
        self.batch = batch

    def on_train_batch_start(self, trainer, pl_module, *_) -> None:
        pl_module.model.trap = pl_module.batches == self.batch


def test_the_first_batch_initialises_once_and_the_average_begins_there(tmp_path):
    Model.firsts.clear()
    run(tmp_path / "whole", Model, 4, "ema.decay=0.999")
    assert len(Model.firsts) == 1 and len(Model.firsts[0][0]) == BATCH
    run(tmp_path / "cut", Model, 2, "ema.decay=0.999")
    assert len(Model.firsts) == 2 and torch.equal(Model.firsts[0][0], Model.firsts[1][0])
    train(resumed(tmp_path / "cut", trainer__max_steps=4))
    assert len(Model.firsts) == 2  # a resume does not
    assert_same_run(tmp_path / "cut", tmp_path / "whole")
    state = last(tmp_path / "whole")["state_dict"]
    assert (state["ema.model.layer.bias"] - 3).abs() < 0.5 and torch.equal(state["ema.model.mean"], state["model.mean"])


def test_what_follows_the_clock_goes_on_at_a_resume(tmp_path):
    """The part's weight depends on the step and its sum on all steps before."""
    for overrides in ([], ["trainer.accumulate_grad_batches=2"]):
        whole, cut = tmp_path / f"whole{len(overrides)}", tmp_path / f"cut{len(overrides)}"
        run(whole, Game, 6, *overrides)
        run(cut, Game, 3, *overrides)
        train(resumed(cut, trainer__max_steps=6))
        assert_same_run(cut, whole)


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_an_evaluation_is_prepared_and_told_the_time_and_training_does_not_notice(decay, tmp_path):
    config = train_config(tmp_path, "trainer.max_steps=2", f"ema.decay={decay}")
    model, data = Model(), build.instance(config["data"])
    trainer = build.trainer(config, {})
    training = build.training(config, model, data, trainer)
    trainer.fit(training)
    before = {name: value.clone() for name, value in training.state_dict().items()}
    state = torch.get_rng_state()
    with training.evaluating() as evaluated:
        assert evaluated.part.weight == pytest.approx(2 / 3)
        assert evaluated.prepared.abs().sum() > 0 and not evaluated.training
        kept = evaluated.prepared.clone()
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in training.state_dict().items())
    prepare_model(model, data, torch.device("cpu"))
    assert torch.equal(model.prepared, kept)  # `genmodels evaluate` sees the same batches


def test_the_clock_of_a_checkpoint_is_that_of_the_training(tmp_path):
    clock = clock_of(run(tmp_path, Model, 3))
    assert clock == Clock(3, 3 * BATCH, 3)
    model = Model()
    set_clock(followers(model), clock)
    assert model.part.weight == 1


class Averaged(Model):
    def loss(self, x, condition=NO_CONDITION):
        return {"loss": self(x).mean()}


@pytest.mark.slow
def test_a_loss_that_is_averaged_already_is_refused(tmp_path):
    """In a process of its own: this suite's shape checks would be there first."""
    code = "import sys; from tests.test_clock import *; run(Path(sys.argv[1]), Averaged, 1)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "run"], capture_output=True, text=True)
    assert "UserError: the loss's term 'loss' has shape [], expected one value for each sample" in done.stderr
