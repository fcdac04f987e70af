"""An export is the model: the same log_prob and samples, bit for bit, read by every command, and whole or not there."""

import errno
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

import genmodels as gm
from genmodels.capabilities import HasLikelihood
from genmodels.engine.train import train
from genmodels.run import export as exports
from genmodels.run.checkpoint import read_checkpoint
from genmodels.run.results import read_results
from genmodels.seeds import ByNumber
from tests.helpers import train_config

SMALL = {
    "vae": ["model.encoder.width=4", "model.decoder.width=4"],
    "realnvp": ["model.bijections.realnvp.width=4", "model.bijections.realnvp.multipliers=[1,1]"],
    "pixelcnn": ["model.network.width=8"],
    "ddpm": ["model.network.width=8", "model.process.schedule.steps=20", "sampler.steps=5"],
    "dcgan": ["model.generator.width=4", "model.discriminator.width=4"],
}


ABOUT = {"weights": "raw", "step": 0, "images_seen": 0}


def trained(folder: Path, model: str) -> Path:
    train(train_config(folder / "run", "trainer=smoke", "trainer.max_steps=2", f"model={model}", *SMALL[model]))
    return folder / "run"


@pytest.mark.parametrize("model", SMALL)
def test_an_export_is_the_model(model, genmodels, tmp_path):
    run = trained(tmp_path, model)
    status, err = genmodels("export", f"run={run}", "out=mine/deep")
    assert status == 0, err
    assert sorted(path.name for path in (tmp_path / "mine").rglob("*")) == ["config.yaml", "deep", "model.safetensors"]
    kept = tmp_path / "mine" / "deep"
    assert (kept / "model.safetensors").stat().st_mode == (kept / "config.yaml").stat().st_mode  # others may read both
    ours, theirs = gm.load(run), gm.load(kept)
    x, again = (m.sample(3, rng=ByNumber(0, 0, 3)) for m in (ours, theirs))
    assert torch.equal(x, again)
    if isinstance(ours, HasLikelihood):
        with torch.no_grad():
            values = []
            for m in (ours, theirs):
                torch.manual_seed(0)
                values.append(m.log_prob(x))
        assert torch.equal(*values)


@pytest.mark.slow
def test_every_command_reads_an_export(genmodels, tmp_path):
    """`run=FOLDER`: the samples and numbers of the run, under the same weights and step; exported again, the same."""
    run = trained(tmp_path, "vae")
    assert genmodels("export", f"run={run}", "out=mine")[0] == 0
    for source, out in ((run, "run.npz"), ("mine", "mine.npz")):
        assert genmodels("sample", f"run={source}", "n=5", f"out={out}")[0] == 0
        quick = ["evaluator=[likelihood]", "evaluator.likelihood.draws=1", "evaluator.likelihood.max_samples=20"]
        assert genmodels("evaluate", f"run={source}", *quick)[0] == 0
    assert np.array_equal(np.load("run.npz")["images"], np.load("mine.npz")["images"])
    assert read_results(run / "results.json")[-2:] == read_results(tmp_path / "mine" / "results.json")
    assert genmodels("export", "run=mine", "out=again")[0] == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        tmp_path / "mine" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_an_export_holds_the_weights_that_are_asked_for(weights, genmodels, tmp_path):
    run = trained(tmp_path, "vae")
    assert genmodels("export", f"run={run}", "out=mine", f"weights={weights}")[0] == 0
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    prefix = {"ema": "ema.model.", "raw": "model."}[weights]
    held = load_file(tmp_path / "mine" / "model.safetensors")
    assert held.keys() == {key.removeprefix(prefix) for key in state if key.startswith(prefix)}
    assert all(
        torch.equal(w, state[prefix + name]) and w.dtype == state[prefix + name].dtype for name, w in held.items()
    )
    config = yaml.safe_load((tmp_path / "mine" / "config.yaml").read_text())
    about = {"genmodels": metadata.version("genmodels"), "weights": weights, "step": 2, "images_seen": 128}
    assert config["exported"] == about and not {"trainer", "callbacks", "logger", "run_dir"} & config.keys()
    facts = {"name": "digits", "shape": [1, 8, 8], "levels": 17, "classes": 10}
    assert config["data"] | facts == config["data"]


class Tied(nn.Module):
    """Two names for one weight, one that lies transposed in memory, a buffer that is not kept, half precision."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)
        self.two.weight = self.one.weight
        self.conv = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
        self.low = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
        self.register_buffer("table", torch.ones(2), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))


def test_shared_weights_and_other_types_are_written(tmp_path):
    model = Tied()
    exports.write_export(
        tmp_path / "mine", model, {"model": {"_target_": "x.Y"}}, {"weights": "raw", "step": 0, "images_seen": 0}
    )
    _, weights = exports.read_export(tmp_path / "mine")
    again = Tied()
    again.load_state_dict(weights)
    assert "table" not in weights and again.two.weight is again.one.weight
    for name, w in model.state_dict().items():
        assert torch.equal(w, again.state_dict()[name]) and w.dtype == weights[name].dtype


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exports, "save", full)
    with pytest.raises(OSError, match="No space"):
        exports.write_export(tmp_path / "mine", Tied(), {}, ABOUT)
    assert not list(tmp_path.iterdir())
