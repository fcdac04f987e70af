"""compile=true: the same losses, gradients, names and samples, for every family; penalties; the compiler itself.

Stated tolerance: 1e-4 relative, in float32. What is compiled runs in a process of its own, for torch cannot look past
the shape checks of this test suite; the families run as they are traced (aot_eager), one small model goes all the way
through the C++ compiler.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from genmodels.capabilities import Clock, Player
from genmodels.clock import followers, set_clock
from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.seeds import seeded
from genmodels.training.compilation import compiled as compiled_players
from genmodels.training.game import players_of
from tests.helpers import build_model
from tests.test_nan_policy import config_of
from tests.test_resume import curve, last, resumed

pytestmark = pytest.mark.slow

GAN = ["model.generator.width=4", "model.discriminator.width=4"]
MODELS = {
    "vae": [
        f"model.{part}.{key}" for part in ("encoder", "decoder") for key in ("width=4", "multipliers=[1]", "blocks=0")
    ],
    "realnvp": [f"model.bijections.realnvp.{key}" for key in ("width=4", "multipliers=[1]", "couplings=1", "blocks=1")],
    "pixelcnn": ["model.network.width=4", "model.network.layers=2"],
    "ddpm": [
        "model.network.width=8",
        "model.network.multipliers=[1]",
        "model.network.blocks=1",
        "sampler=ddim",
        "sampler.steps=2",
    ],
    "dcgan": GAN,
    "dcgan wgan_gp": [*GAN, "model.gradient_penalty=10", "model.discriminator.normalization=none"],
}
SMALL = ("model=vae_mlp", "model.encoder.widths=[8]", "model.decoder.widths=[8]")


def everything(model: nn.Module, players: Sequence[Player]) -> Iterator[tuple[str, list[float]]]:
    """Losses, the gradient's entries and samples of a model, with the same noise every time."""
    x = torch.arange(4 * 64, dtype=torch.uint8).view(4, 1, 8, 8) % 17
    for player in players:
        model.zero_grad()
        with seeded(1):
            loss = player.loss(x, {})["loss"]
        loss.mean().backward()
        yield player.name, loss.tolist()
        yield (
            f"gradient of {player.name}",
            nn.utils.parameters_to_vector(
                [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
            ).tolist(),
        )
    model.eval()
    with seeded(2):
        yield "samples", model.sample(2).flatten().tolist()


def compiled(folder: Path) -> None:
    """Where nothing checks shapes: writes all about each model, as it is written and compiled, and trains a little."""
    found = {}
    for name, overrides in MODELS.items():
        model = build_model(name.split()[0], *overrides)
        players = players_of(model)
        plain = dict(everything(model, players))
        traced, model = graphs(), model.train()
        found[name] = [plain, dict(everything(model, compiled_players(players, backend="aot_eager")))]
        assert graphs() > traced
    (folder / "found.json").write_text(json.dumps(found))
    (folder / "graphs.json").write_text(json.dumps(graphs_of_a_warmup()))
    train(config_of(folder / "compiled", SMALL, {"compile": True, "trainer.max_steps": 2}))


def graphs_of_a_warmup() -> list[int]:
    """How many graphs each step has added whose loss has another weight of the KL."""
    model = build_model(*(word.removeprefix("model=") for word in SMALL), "model.objective.warmup_steps=100")
    (player,) = compiled_players(players_of(model), backend="aot_eager")
    added = []
    for step in range(20):
        before = graphs()
        set_clock(followers(model), Clock(step, 4 * step, 100))
        player.loss(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), {})
        added.append(graphs() - before)
    return added


def graphs() -> int:
    """How many torch has compiled."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a fresh process has run `compiled`."""
    folder = tmp_path_factory.mktemp("compiled")
    code = f"from tests.test_compile import *; compiled(Path({str(folder)!r}))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache")}
    run = {"cwd": Path(__file__).parents[1], "env": environment, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], **run)
    assert done.returncode == 0, done.stderr
    return folder


def near(a: list[float], b: list[float]) -> bool:
    """Whether they differ by less than the stated part of the largest."""
    first, second = torch.tensor(a), torch.tensor(b)
    return bool((first - second).abs().max() <= 1e-4 * first.abs().max())


def test_compiled_models_are_the_same_models(folder):
    for name, (plain, other) in json.loads((folder / "found.json").read_text()).items():
        assert plain.keys() == other.keys()
        for what in plain:
            assert near(plain[what], other[what]), f"{what} of {name}"


def test_a_weight_that_changes_at_each_step_compiles_no_graph_for_each(folder):
    added = json.loads((folder / "graphs.json").read_text())
    assert added[0] > 0 and not any(added[3:])


def test_a_compiled_run_and_one_that_is_not_go_on_with_each_other(folder, tmp_path):
    train(config_of(tmp_path, SMALL, {"trainer.max_steps": 4}))
    train(resumed(folder / "compiled", compile=False, trainer__max_steps=4))
    losses = [[float(row["train/loss"]) for row in curve(run)] for run in (tmp_path, folder / "compiled")]
    assert len(losses[0]) == 4 and losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert last(folder / "compiled")["state_dict"].keys() == last(tmp_path)["state_dict"].keys()


def test_without_a_compiler_nothing_is_begun(tmp_path, monkeypatch):
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("/nonexistent/g++",))
    with pytest.raises(UserError, match="compile=true needs a C[+][+] compiler"):
        train(config_of(tmp_path / "run", SMALL, {"compile": True}))
    assert not (tmp_path / "run" / "config.yaml").exists()
