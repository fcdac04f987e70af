"""Nothing that is read runs code: no file of data, no checkpoint, no config that came from elsewhere."""

import ast
import os
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

import genmodels as package
from genmodels.config.shipped import CONFIGS
from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.run.checkpoint import load, read_checkpoint
from genmodels.run.config import config_to_resume
from genmodels.run.trust import OWN_PACKAGES, TRAINING, require_trusted
from tests.helpers import train_config

FILES = sorted(Path(package.__file__).parent.rglob("*.py"))
NEVER = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads"}
NEVER |= {"pickle.Unpickler", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "marshal.loads", "shelve.open"}
NEVER |= {"pandas.read_pickle", "joblib.load", "torch.hub.load", "subprocess.getoutput", "subprocess.getstatusoutput"}
NEEDS = {"torch.load": ("weights_only", "True"), "np.load": ("allow_pickle", "False")}  # a call, and its argument


def unsafe(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    shell = given.get("shell", "False") != "False"
    return shell or name in NEVER or (name in NEEDS and given.get(NEEDS[name][0]) != NEEDS[name][1])


def calls(text: str) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("text", ["eval(x)", "torch.load(f)", "np.load(f)", "np.load(f, allow_pickle=True)"])
def test_what_is_unsafe_is_seen(text):
    assert unsafe(calls(text)[0]) and not unsafe(calls("torch.load(f, weights_only=True)")[0])
    assert unsafe(calls("subprocess.run(x, shell=True)")[0]) and not unsafe(calls("subprocess.run(x)")[0])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(FILES[0].parent).as_posix())
def test_the_package_calls_nothing_that_runs_data(file):
    assert not [f"{file}:{call.lineno}" for call in calls(file.read_text()) if unsafe(call)]


def test_an_unpickler_says_which_names_it_takes():
    nodes = [node for file in FILES for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef)]
    unpicklers = [node for node in nodes if any(ast.unparse(base).endswith("Unpickler") for base in node.bases)]
    assert unpicklers and all("def find_class(" in ast.unparse(node) for node in unpicklers)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(train_config(folder, "trainer=smoke", "model.encoder.width=4", "model.decoder.width=4"))
    return folder


class Attack:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("attacked",)


def test_a_checkpoint_with_pickled_code(genmodels, tmp_path):
    torch.save({"state_dict": {}, "config": {}, "code": Attack()}, tmp_path / "evil.ckpt")
    (tmp_path / "raw.ckpt").write_bytes(pickle.dumps(Attack()))
    for name in ("evil", "raw"):
        status, err = genmodels("sample", f"checkpoint={name}.ckpt")
        assert status == 2 and f"{name}.ckpt" in err, err
    assert not (tmp_path / "attacked").exists()


EVIL = [
    "os.system",
    "genmodels.rank.os.system",
    "genmodels.run.checkpoint.torch.nn.Linear",
    "genmodels.run.checkpoint.load",
    "no.Such",
]
EVIL += [
    "genmodelsevil.X",
    "genmodels.run.checkpoint",
    "genmodels.no.Such",
    "evil:genmodels.X",
    "",
    None,
    3,
    ["genmodels"],
]
PLACES = {
    "plain": lambda node: node,
    "in lists": lambda node: [[1, node]],
    "partial": lambda node: {**node, "_partial_": True, "_args_": ["touch attacked"]},
    "under a class of ours": lambda node: {"_target_": "genmodels.parts.schedules.Linear", "x": {"y": node}},
}


@pytest.mark.parametrize("target", EVIL, ids=str)
@pytest.mark.parametrize("place", PLACES)
def test_a_checkpoint_may_only_build_our_classes(run_dir, tmp_path, monkeypatch, target, place):
    (tmp_path / "evil.py").write_text("import os; os.mkdir('attacked')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    checkpoint = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    checkpoint["config"]["model"]["encoder"] = PLACES[place]({"_target_": target})
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="not a class of"):
        load(tmp_path / "other.ckpt")
    assert not (tmp_path / "attacked").exists()


def test_a_trusted_package_may_be_built_and_no_more_of_it_than_is_named(tmp_path):
    node = {"_target_": "tests.helpers.Crash", "after_batches": 1}
    for trusted in (["tests"], ["tests.helpers"], ["tests.helpers.Crash"]):
        require_trusted(node, [*OWN_PACKAGES, *trusted])
    for trusted in (["tests.hel"], ["test"], ["tests.conftest"]):
        with pytest.raises(UserError, match=r"name its package: trusted=\[tests\]"):
            require_trusted(node, [*OWN_PACKAGES, *trusted])


@pytest.mark.parametrize("part", ["data", "features", "evaluator"])
def test_an_evaluation_may_only_build_our_classes(part, genmodels, run_dir, tmp_path):
    checkpoint = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    checkpoint["config"][part] = {"x": {"_target_": "os.system", "command": "touch attacked"}}
    torch.save(checkpoint, tmp_path / "other.ckpt")
    status, err = genmodels("evaluate", "checkpoint=other.ckpt")
    assert status == 2 and "names os.system" in err, err


@pytest.mark.parametrize("group", ["optimizer", "trainer", "scheduler", "data", "logger", "callbacks", "features"])
def test_every_option_of_ours_may_be_resumed(group):
    """What the YAMLs of this package build is trusted; a resume of one's own run needs no word about it."""
    for file in (CONFIGS / group).glob("*.yaml"):
        node = yaml.safe_load(file.read_text())
        if file.stem != "module":  # a class that the person names
            require_trusted(node, [*OWN_PACKAGES, *TRAINING])


def test_a_class_of_ones_own_is_resumed_when_it_is_named(run_dir, tmp_path):
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    config["callbacks"]["mine"] = {"_target_": "tests.helpers.Crash", "after_batches": 1}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config, "trusted": ["tests"]}))
    with pytest.raises(UserError, match="names tests.helpers.Crash"):  # what the file itself says counts nothing
        config_to_resume(tmp_path, [])
    assert config_to_resume(tmp_path, ["tests"])["callbacks"]["mine"]


def test_weights_that_claim_what_they_do_not_hold(tmp_path):
    """A header is not believed: it may be absurdly long, or speak of more than there is."""
    (tmp_path / "config.yaml").write_text("exported: {weights: raw, step: 1, images_seen: 1}\nmodel: {_target_: a.B}\n")
    weights = tmp_path / "model.safetensors"
    save_file({"w": torch.zeros(3)}, weights)
    whole = weights.read_bytes()
    for broken in (
        b"\xff" * 8,
        (2**62).to_bytes(8, "little") + whole[8:],
        whole.replace(b"[3]", b"[9]"),
        b"",
        whole[:-4],
    ):
        weights.write_bytes(broken)
        with pytest.raises(UserError, match="is damaged or incomplete"):
            load(tmp_path)
