"""Several steps between two calls of the callbacks: who is called when, and that results do not depend on it."""

from typing import ClassVar

import pytest
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import LambdaCallback

from genmodels.engine.train import train
from genmodels.training import pace
from genmodels.training.pace import EACH_STEP, MOST, Periodic, steps_until_due
from tests.helpers import train_config
from tests.test_resume import assert_same_run

QUICK = ["callbacks=[evaluation,checkpoint]", "callbacks.evaluation.every_n_steps=20", "trainer.max_steps=50"]
MODELS = {
    "vae_mlp": ["callbacks.checkpoint.every_n_train_steps=15", "trainer.accumulate_grad_batches=2"],
    "dcgan": [
        "model.generator.width=4",
        "model.discriminator.width=4",
        "model.discriminator_steps=2",
        "evaluator=[]",
    ],
}


class Every(Periodic):
    def __init__(self, n: int):
        self.every_n_steps = n


class Own(Callback):
    """A person's callback, which wants each step."""

    seen: ClassVar[list[int]] = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.seen.append(trainer.global_step)


class Tens(Periodic):
    """One that says which steps it waits for."""

    seen: ClassVar[list[int]] = []

    def __init__(self):
        self.every_n_steps = 10

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.seen.append(trainer.global_step)


@pytest.mark.parametrize(
    "callbacks, step, steps",
    [
        ([], 0, MOST),
        ([Every(7)], 0, 7),
        ([Every(7), Every(4)], 10, 2),
        ([Every(7), Every(4)], 11, 1),
        ([Every(7), Own()], 0, 1),
        ([LambdaCallback(setup=lambda *_: None)], 3, MOST),
        ([LambdaCallback(on_before_optimizer_step=lambda *_: None)], 3, 1),
    ],
)
def test_steps_go_on_until_a_callback_waits_for_one(callbacks, step, steps):
    assert steps_until_due(callbacks, step) == steps


@pytest.mark.parametrize("model", MODELS)
def test_a_run_is_the_same_however_often_its_callbacks_are_called(model, tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "MOMENT", 1e9)
    seen = {}
    for callback in (Own, Tens):
        callback.seen.clear()
        config = train_config(tmp_path / callback.__name__, f"model={model}", *QUICK, *MODELS[model])
        config["callbacks"]["own"] = {"_target_": f"tests.test_pace.{callback.__name__}"}
        train(config)
        seen[callback] = list(callback.seen)
    assert_same_run(tmp_path / "Own", tmp_path / "Tens")
    assert seen[Own] == list(range(1, 51))
    assert {10, 20, 30, 40, 50} <= set(seen[Tens]) and len(seen[Tens]) < 12


class Hooked(Callback):
    """Keeps the hooks that are called, in their order."""

    seen: ClassVar[list[str]] = []


for hook in EACH_STEP:
    setattr(Hooked, hook, lambda self, *_, hook=hook: self.seen.append(hook))


def test_all_hooks_of_a_step_are_called(tmp_path):
    config = train_config(tmp_path, "model=vae_mlp", "callbacks=none", "trainer.max_steps=1", "evaluator=[]")
    config["callbacks"]["hooked"] = {"_target_": "tests.test_pace.Hooked"}
    Hooked.seen.clear()
    train(config)
    assert Hooked.seen == [
        "on_train_batch_start",
        "on_before_zero_grad",
        "on_before_backward",
        "on_after_backward",
        "on_before_optimizer_step",
        "on_train_batch_end",
    ]
