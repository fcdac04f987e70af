"""Runs that build on runs: the first stage is frozen, known by its hash, and lies in the second run's checkpoints."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf.errors import InterpolationResolutionError

import genmodels
from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.evaluators.features.base import weights_sha256
from genmodels.parts.of_run import OfRun
from genmodels.run.checkpoint import checkpoint_path, read_checkpoint
from genmodels.run.first_stages import load_first_stages, with_absolute_runs
from genmodels.seeds import seeded
from genmodels.training.hooks import initialise
from tests.helpers import build_model, train_config

STAGES = {
    "vqvae": ["model=vqvae", "model.quantizer.codes=16", "model.quantizer.dim=4"],
    "vae": ["model=vae", "model/encoder=spatial", "model/decoder=spatial", "model.latent_dim=8"],
    "pixelcnn": ["model=pixelcnn", "model.network.width=4", "model.network.layers=1"],
}
NARROW = ["model.encoder.width=8", "model.decoder.width=8"]
PRIOR = ["model=pixelcnn", "model/space=of_run", "model.network.inputs=embedded", "model.network.width=8"]
PRIOR += ["model.network.first_kernel=3", "model.network.kernel=3", "model.network.layers=1"]
X = torch.arange(3 * 64).view(3, 1, 8, 8).remainder(17).to(torch.uint8)


@pytest.fixture(scope="module")
def stages(tmp_path_factory) -> dict[str, Path]:
    """Short runs of models that compress, and of one that does not; to be read and not to be changed."""
    folder = tmp_path_factory.mktemp("stages")
    for name, overrides in STAGES.items():
        narrow = NARROW if name != "pixelcnn" else []
        train(train_config(folder / name, *overrides, *narrow, "trainer.max_steps=3"))
    return {name: folder / name for name in STAGES}


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(checkpoint_path(run))["state_dict"]


def test_a_second_run_needs_the_first_no_more_once_it_trains(stages, tmp_path):
    """Neither to be loaded nor to go on; the stage is what it was, and no optimizer or average has it."""
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(stages["vqvae"], first)
    stage = genmodels.load(first)
    config = train_config(second, *PRIOR, f"model.space.run={first}", "trainer.max_steps=2")
    assert config["model"]["space"]["sha256"] == weights_sha256(stage.state_dict())
    train(config)
    shutil.rmtree(first)
    model = genmodels.load(second)
    assert all(torch.equal(w, model.space.stage.state_dict()[name]) for name, w in stage.state_dict().items())
    with torch.no_grad():
        u, correction = stage.compress(X)
        expected = model.scored_codes(u, model.conditioner({})) + correction
        torch.testing.assert_close(model.log_prob(X), expected)
    assert model.bound == "elbo" and model.sample(2).shape == (2, 1, 8, 8)
    assert model.likelihood_protocol() == {"first_stage_sha256": config["model"]["space"]["sha256"]}
    assert not [key for key in weights_of(second) if key.startswith("ema.") and ".stage." in key]
    more = {**yaml.safe_load((second / "config.yaml").read_text()), "resume": str(second)}
    more["trainer"]["max_steps"] = 4
    train(more)
    after = genmodels.load(second)
    assert all(torch.equal(w, after.space.stage.state_dict()[name]) for name, w in stage.state_dict().items())
    assert not torch.equal(next(after.network.parameters()), next(model.network.parameters()))


def test_real_codes_are_standardized_and_their_density_says_so(stages):
    model = build_model("ddpm", "model/space=of_run", f"model.space.run={stages['vae']}", *LATENT)
    load_first_stages(model)
    space, stage = model.space, genmodels.load(stages["vae"])
    x = X.repeat(20, 1, 1, 1)
    initialise(model, (x, {}), seed=0)
    with seeded(0):
        u, correction = stage.compress(x)
    with seeded(0):
        v, total = space.encode(x)
    assert v.shape[1:] == (2, 2, 2) and float(v.mean()) == pytest.approx(0, abs=0.1)
    assert float(v.std()) == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(v * space.std + space.mean, u)
    torch.testing.assert_close(total, correction - 8 * space.std.log())  # log p(v) = log p(u) + d log std
    assert space.decode(v).dtype == torch.uint8
    torch.testing.assert_close(space.middle(x) * space.std + space.mean, stage.encode(x).view(-1, 2, 2, 2))


LATENT = ["model.network.width=8", "model.network.multipliers=[1]", "model.scorer=null"]


def test_the_stage_stays_frozen_and_in_eval_mode(stages):
    space = build_model("pixelcnn", *PRIOR, f"model.space.run={stages['vqvae']}").train().space
    assert isinstance(space, OfRun) and space.training and not space.stage.training
    assert not any(p.requires_grad for p in space.parameters())
    before = space.stage.quantizer.codebook.clone()
    space.encode(X)
    assert torch.equal(space.stage.quantizer.codebook, before)


def test_a_run_with_other_weights_is_refused(stages, tmp_path):
    """One that was trained further since the config was composed; what is not there any more as well."""
    run = tmp_path / "run"
    shutil.copytree(stages["vqvae"], run)
    model = build_model("pixelcnn", *PRIOR, f"model.space.run={run}")
    config = {**yaml.safe_load((run / "config.yaml").read_text()), "resume": str(run)}
    config["run_dir"], config["trainer"]["max_steps"] = str(run), 5
    config["callbacks"]["checkpoint"]["dirpath"] = str(run / "checkpoints")
    train(config)
    with pytest.raises(UserError, match=r"have the sha256 \w+\.\.\., expected"):
        load_first_stages(model)
    shutil.rmtree(run)
    with pytest.raises(UserError, match="does not exist"):
        load_first_stages(model)


@pytest.mark.parametrize(
    ("run", "overrides", "message"),
    [
        ("nowhere", [], "nowhere does not exist"),
        (".", [], "is not a run directory"),
        ("pixelcnn", [], "whose model has no codes: Autoregressive has no codes"),
        (
            "vqvae",
            ["data=mnist"],
            r"trained on data of shape \[1, 8, 8\] with levels=17, expected shape \[1, 28, 28\] with levels=256",
        ),
    ],
)
def test_what_is_no_first_stage_is_refused(run, overrides, message, stages, tmp_path):
    path = {".": tmp_path}.get(run) or stages.get(run, tmp_path / run)
    with pytest.raises(InterpolationResolutionError, match=message):
        train_config(tmp_path / "run", *PRIOR, f"model.space.run={path}", *overrides)


def test_a_run_is_named_in_full_in_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    node = {"space": {"_target_": "genmodels.parts.of_run.OfRun", "run": "runs/a"}, "others": [{"run": "b"}]}
    made = with_absolute_runs(node)
    assert made == {"space": {**node["space"], "run": str(tmp_path / "runs" / "a")}, "others": [{"run": "b"}]}


def test_an_older_version_s_run_is_refused_by_its_name(stages, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(stages["vqvae"], run)
    file = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    del checkpoint["config"]["genmodels"]
    torch.save(checkpoint, file)
    with pytest.raises(UserError, match=r"was written by genmodels 0\.1 and this is genmodels .*use that version"):
        genmodels.load(run)
