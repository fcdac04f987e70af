"""A config that came in a file from elsewhere says neither where files are read or written, nor what is fetched."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from genmodels.config.compose import compose_config
from genmodels.config.foreign import GROUPS, NOWHERE, PLACES, remember, require_given, without_foreign_paths
from genmodels.config.shipped import CONFIGS
from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.run.checkpoint import load, read_checkpoint
from genmodels.run.config import config_to_resume
from genmodels.run.trust import note_of, require_trusted
from tests.helpers import train_config
from tests.test_clock import Model


@pytest.fixture
def elsewhere(run_dir, tmp_path):
    """Makes other/, a run as somebody else made it, with a change of its config.yaml and in its checkpoint."""

    def make(change) -> Path:
        other = tmp_path / "other"
        (other / "checkpoints").mkdir(parents=True)
        config = yaml.safe_load((run_dir / "config.yaml").read_text())
        checkpoint = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")
        for each in (config, checkpoint["config"]):
            change(each)
        (other / "config.yaml").write_text(yaml.safe_dump(config))
        torch.save(checkpoint, other / "checkpoints" / "last.ckpt")
        return other

    return make


def likelihood(**changes: object) -> dict:
    return yaml.safe_load((CONFIGS / "evaluator" / "likelihood.yaml").read_text().partition("\n")[2]) | changes


def test_places_and_addresses_are_left_out_and_what_is_ours_stands_in_their_place(monkeypatch):
    monkeypatch.setenv("GENMODELS_DATA", "/mine")
    mnist = yaml.safe_load((CONFIGS / "data" / "mnist.yaml").read_text())
    theirs = mnist | {"root": "/theirs", "urls": ["http://evil/x"], "folder": "../x", "binarize": "mean"}
    data, left = without_foreign_paths("data", {"_target_": "a.B", "parts": [theirs]})
    assert data["parts"] == [theirs | {"root": "/mine", "urls": mnist["urls"], "folder": "mnist"}]
    assert left == ["data.parts.0.root=/theirs", "data.parts.0.folder=../x", "data.parts.0.urls=['http://evil/x']"]
    node = {
        "_target_": "genmodels.data.npz.NPZ",
        "name": "npz",
        "path": "/x.npz",
        "test_path": None,
        "urls": ["http://e"],
    }
    assert without_foreign_paths("data", node)[0] == node | {"path": NOWHERE, "urls": []}
    with pytest.raises(UserError, match="data.path in the file is a path.*give your own: data.path=PATH"):
        require_given(without_foreign_paths("data", node)[0], "data")
    remember({group: {} for group in GROUPS} | {"data": node})  # as this person trains with it
    assert without_foreign_paths("data", node) == (node, [])


def test_what_lies_in_the_run_directory_is_believed(tmp_path):
    for place, there in (("samples", True), (".", True), ("../other", False), ("a/../../b", False)):
        node = {"pictures": {"dirpath": f"{tmp_path}/run/{place}"}}
        assert (without_foreign_paths("callbacks", node, inside=tmp_path / "run") == (node, [])) == there
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "out").symlink_to(tmp_path)
    assert without_foreign_paths("callbacks", {"a": {"dirpath": f"{tmp_path}/run/out"}}, inside=tmp_path / "run")[1]


def test_every_key_of_ours_that_names_a_place_is_known():
    """One that a new option brings has to be told to the code that leaves places out."""
    config = compose_config("train", ["run_dir=/run", "name=x", "logger=[csv,wandb,tensorboard]"])
    nodes = [config[group] for group in GROUPS]
    nodes += [yaml.safe_load(file.read_text()) for group in GROUPS for file in (CONFIGS / group).glob("*.yaml")]

    def unknown(node) -> list[str]:
        if not isinstance(node, dict):
            return []
        places = [k for k, v in node.items() if isinstance(v, str) and ("/run" in v or "run_dir" in v or "cache" in v)]
        return [k for k in places if k not in PLACES] + [k for value in node.values() for k in unknown(value)]

    from omegaconf import OmegaConf

    plain = [OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node for node in nodes]
    assert not [key for node in plain for key in unknown(node)]


@pytest.mark.slow
def test_an_evaluation_writes_where_the_person_says_and_nowhere_else(elsewhere, genmodels, tmp_path, capsys):
    save = tmp_path / "attacked" / "x.npz"
    other = elsewhere(lambda c: c.update(evaluator={"likelihood": likelihood(save=str(save))}))
    status, err = genmodels("evaluate", f"run={other}", "device=cpu")
    assert status == 0 and not save.parent.exists(), err
    results = json.loads((other / "results.json").read_text())["results"]
    assert {record["metric"] for record in results} >= {"bits_per_dim", "nll_nats"}


@pytest.mark.slow
def test_a_resume_writes_into_its_directory_and_nowhere_else(elsewhere, genmodels, tmp_path, run_dir):
    away = tmp_path / "attacked"
    other = elsewhere(lambda c: c["callbacks"]["checkpoint"].update(dirpath=f"{c['run_dir']}/../attacked"))
    before = sorted(path.name for path in other.iterdir())
    status, err = genmodels("train", f"resume={other}", "trainer.max_steps=6")
    assert status == 2 and "callbacks.checkpoint.dirpath in the file is a path" in err, err
    assert not away.exists() and sorted(path.name for path in other.iterdir()) == before
    own = f"callbacks.checkpoint.dirpath={other}/checkpoints"
    status, err = genmodels("train", f"resume={other}", "trainer.max_steps=6", own)
    assert status == 0 and torch.load(other / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 6, err


@pytest.mark.slow
def test_data_are_read_where_the_person_says(elsewhere, genmodels, tmp_path):
    npz = {"_target_": "genmodels.data.npz.NPZ", "name": "npz", "path": str(tmp_path / "theirs.npz"), "test_path": None}
    facts = {"classes": None, "batch_size": 8, "flip": False, "n_test": 4, "n_validation": 4, "split_seed": 0}
    other = elsewhere(lambda c: c.update(data=npz | facts | {"shape": [1, 8, 8], "levels": 17}))
    status, err = genmodels("evaluate", f"run={other}", "evaluator=[likelihood]", "device=cpu")
    assert status == 2 and "give your own: data.path=PATH" in err, err


def test_classes_of_their_own_load_for_who_trained_with_them(tmp_path, monkeypatch):
    config = train_config(tmp_path / "run", "trainer.max_steps=1")
    train(config | {"model": {"_target_": "tests.test_clock.Model"}})
    assert isinstance(load(tmp_path / "run"), Model)
    assert config_to_resume(tmp_path / "run", [])["model"] == {"_target_": "tests.test_clock.Model"}
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "of another person"))
    with pytest.raises(
        UserError, match=r"names tests.test_clock.Model, which is not a class of genmodels.*trusted=\[tests\]"
    ):
        load(tmp_path / "run")
    assert isinstance(load(tmp_path / "run", trusted=["tests"]), Model)


def test_what_cannot_be_imported_says_where_to_put_it(tmp_path):
    call = {"_target_": "nowhere.Net"}
    for trusted in ([], ["nowhere"]):
        if not trusted:
            note_of(call).parent.mkdir(parents=True, exist_ok=True)
            note_of(call).touch()
        with pytest.raises(UserError, match="nowhere.Net, which cannot be imported .*add its folder to PYTHONPATH"):
            require_trusted(call, trusted)
    require_trusted({"_target_": "genmodels.models.vae.VAE"}, ["genmodels"])
    with pytest.raises(UserError, match="not a class of genmodels"):
        require_trusted({"_target_": "nowhere.Net", "width": 1}, ["genmodels"])
