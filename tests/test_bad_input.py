"""What a person can get wrong: one clear sentence, the right exit status, nothing overwritten."""

import gzip
import os
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from genmodels.cli.main import main
from genmodels.errors import UserError
from genmodels.runs import load, read_checkpoint
from tests.helpers import Crash, train_config

QUICK = ["trainer=smoke", "logger=none", "callbacks=none", "evaluator=[]"]


COMPOSITION = {
    "command": (["trian"], "no command 'trian'; did you mean train?"),
    "dataset": (["train", "data=digit"], "no data=digit; did you mean digits?"),
    "model": (["train", "model=vea"], "no model=vea; did you mean vae?"),
    "experiment": (["train", "experiment=digits_vea"], "did you mean digits_vae?"),
    "evaluator": (["train", "evaluator=[likelihood,fdi]"], "no evaluator=fdi; did you mean fid?"),
    "part of a model": (["train", "model/likelihood=bernouli"], "did you mean bernoulli?"),
    "group": (["train", "modle=vae"], "no key modle (set on the command line); did you mean model?"),
    "key": (["train", "optimizer.lrr=1"], "no key optimizer.lrr (set on the command line); did you mean optimizer.lr?"),
    "added key": (["train", "+model.bata=2"], "no key model.bata; did you mean beta? (set on the command line)"),
    "added group": (["train", "+optim.lr=1"], "no key optim; did you mean optimizer? (set on the command line)"),
    "type": (["train", "optimizer.lr=abc"], "optimizer.lr is 'abc', expected a number"),
    "type of an integer": (["train", "data.batch_size=1.5"], "data.batch_size is 1.5, expected an integer"),
    "type of a boolean": (["train", "model.conditional=3"], "model.conditional is 3, expected true or false"),
    "value of a choice": (["train", "model=ddpm", "model.objective=fast"], "expected one of simple, variational"),
    "part by a number": (["train", "model.encoder=3"], "model.encoder is 3, expected a part with _target_"),
    "unknown class": (["train", "model._target_=genmodels.models.vae.VEA"], "no class that can be imported"),
    "value out of range": (["train", "optimizer.lr=-1"], "refuses its settings: Invalid learning rate: -1"),
    "value that a model refuses": (["train", "model/likelihood=bernoulli"], "2"),
    "syntax": (["train", "model=[1"], "cannot read 'model=[1'"),
    "key without a value": (["train", "model.beta"], "cannot read 'model.beta'; write key=value"),
    "open key": (["train", "data=npz", "data.shape=[1,8,8]"], "data.path is not given"),
    "labels that are not there": (
        ["train", "data=npz", "data.path=x.npz", "data.shape=[1,8,8]", "model.conditional=true"],
        "model.conditional=true needs labels",
    ),
    "batch that does not divide": (
        ["train", "data.batch_size=33", "trainer.accumulate_grad_batches=2"],
        "multiple of 2",
    ),
    "batch larger than the data": (["train", "data.batch_size=5000"], "lower data.batch_size to 1297 or less"),
    "missing dataset": (
        ["train", "data=cifar10", "data.urls=[]"],
        "put the official cifar-10-binary.tar.gz into the folder",
    ),
    "missing npz": (["train", "data=npz", "data.path=no.npz", "data.shape=[1,8,8]"], "no.npz"),
    "no such run to resume": (["train", "resume=nowhere"], "nowhere is no run directory"),
    "no run to evaluate": (["evaluate"], "give the model: run=RUN_DIR"),
    "no such run to evaluate": (["evaluate", "run=nowhere"], "nowhere does not exist"),
    "no such run to sample": (["sample", "run=nowhere"], "nowhere does not exist"),
    "group to list": (["list", "modle"], "did you mean model?"),
}


@pytest.mark.parametrize("case", COMPOSITION)
def test_mistakes_are_refused(case, genmodels, tmp_path):
    words, sentence = COMPOSITION[case]
    quick = QUICK if words[0] == "train" and "resume=nowhere" not in words else []
    status, err = genmodels(words[0], *quick, *words[1:])
    assert (status, sentence in err) == (2, True), err
    assert err.startswith("genmodels: ") and err.count("\n") == 1, err
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_mistakes_in_an_experiment_file(genmodels, tmp_path):
    """Hydra takes unknown keys and a forgotten @package in silence; we do not, and say where they stand."""
    experiments = tmp_path / "mine" / "experiment"
    experiments.mkdir(parents=True)
    (experiments / "typo.yaml").write_text("# @package _global_\noptimizer:\n  learning_rate: 1\n")
    (experiments / "value.yaml").write_text("# @package _global_\ntrainer:\n  max_steps: many\n")
    (experiments / "global.yaml").write_text("trainer:\n  max_steps: 3\n")
    for name, sentence in {
        "typo": "no key optimizer.learning_rate",
        "value": "trainer.max_steps is 'many', expected an integer",
        "global": "no key experiment",
    }.items():
        status, err = genmodels("train", f"experiment={name}", *QUICK[1:], "--config-dir", str(tmp_path / "mine"))
        assert status == 2 and sentence in err, err
        assert f"(set in experiment/{name}.yaml" in err, err


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def test_corrupt_dataset_files(genmodels, tmp_path):
    folder = tmp_path / "data" / "mnist"
    for part, n in (("train", 60), ("t10k", 20)):
        images = np.random.default_rng(0).integers(256, size=(n, 28, 28))
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.zeros(n))
    status, err = genmodels("train", "data=mnist", *QUICK)
    assert status == 2 and "md5" in err and "train-images-idx3-ubyte.gz" in err, err
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:10000])
    status, err = genmodels("train", "data=mnist", "data.verify=false", *QUICK)
    assert status == 2 and "train-images-idx3-ubyte.gz" in err, err


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A finished little run."""
    from genmodels.cli.train import train

    folder = tmp_path_factory.mktemp("runs") / "run"
    train(train_config(folder, "trainer=smoke", "model.encoder.width=8", "model.decoder.width=8"))
    return folder


def test_a_run_is_never_overwritten(genmodels, run_dir):
    before = (run_dir / "checkpoints" / "last.ckpt").read_bytes()
    status, err = genmodels("train", f"hydra.run.dir={run_dir}", *QUICK)
    assert status == 2 and "holds a run already" in err, err
    assert (run_dir / "checkpoints" / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize("change", ["model.beta=2", "data=mnist", "seed=1", "optimizer.lr=1", "experiment=digits_vae"])
def test_a_resume_refuses_what_must_not_change(genmodels, run_dir, change):
    status, err = genmodels("train", f"resume={run_dir}", change)
    assert status == 2 and change in err and "start a new run" in err, err


def test_resume_of_a_directory_that_is_no_run(genmodels, tmp_path):
    (tmp_path / "empty").mkdir()
    status, err = genmodels("train", "resume=empty")
    assert status == 2 and "empty is no run directory" in err, err


def test_a_truncated_checkpoint(genmodels, run_dir, tmp_path):
    whole = (run_dir / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    status, err = genmodels("evaluate", "checkpoint=cut.ckpt")
    assert status == 2 and "cut.ckpt" in err, err


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


@pytest.mark.parametrize(
    "target", ["os.system", "genmodels.runs.os.system", "genmodels.runs.torch.nn.Linear", "no.Such"]
)
def test_a_checkpoint_may_only_build_our_classes(run_dir, tmp_path, target):
    checkpoint = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    checkpoint["config"]["model"]["encoder"] = {"_target_": target, "command": "touch attacked"}
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="no class of"):
        load(tmp_path / "other.ckpt")


@pytest.mark.parametrize("part", ["data", "features", "evaluator"])
def test_an_evaluation_may_only_build_our_classes(part, genmodels, run_dir, tmp_path):
    checkpoint = read_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    checkpoint["config"][part] = {"x": {"_target_": "os.system", "command": "touch attacked"}}
    torch.save(checkpoint, tmp_path / "other.ckpt")
    status, err = genmodels("evaluate", "checkpoint=other.ckpt")
    assert status == 2 and "names os.system" in err, err


def test_a_torch_file_that_is_no_checkpoint(tmp_path):
    torch.save({"weights": torch.zeros(2)}, tmp_path / "some.ckpt")
    with pytest.raises(UserError, match="no checkpoint of genmodels"):
        load(tmp_path / "some.ckpt")


SAMPLING = {
    "label of an unconditional model": (["label=3"], "unconditional"),
    "sampler of a model without": (["sampler=ddim"], "has one way to sample"),
    "no samples": (["n=0"], "at least 1"),
    "unknown ending": (["out=x.gif"], "unknown ending"),
    "device": (["device=gpu"], "device=gpu cannot be used"),
    "folder that is not empty": (["out=full"], "not empty"),
}


@pytest.mark.parametrize("case", SAMPLING)
def test_sampling_mistakes(case, genmodels, run_dir, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.png").write_text("precious")
    words, sentence = SAMPLING[case]
    status, err = genmodels("sample", f"run={run_dir}", *words)
    assert status == 2 and sentence in err, err
    assert (tmp_path / "full" / "mine.png").read_text() == "precious"


def test_evaluating_what_does_not_apply(genmodels, run_dir):
    status, err = genmodels("evaluate", f"run={run_dir}", "which=best")
    assert status == 2 and "no checkpoint best.ckpt" in err, err
    status, err = genmodels("evaluate", f"run={run_dir}", "evaluator=[likelihood]", "split=tests")
    assert status == 2 and "split is 'tests', expected one of train, val, test" in err, err


def test_a_loss_that_is_not_finite_is_a_fault(genmodels, tmp_path):
    run = ["train", "trainer=cpu", "trainer.max_steps=50", "optimizer.lr=1e30", *QUICK[1:], "hydra.run.dir=run"]
    status, err = genmodels(*run, "callbacks.checkpoint.every_n_train_steps=1")
    assert status == 1 and "not finite at step" in err and "learning rate" in err, err
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] >= 1


def test_no_permission_to_write(genmodels, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    status, err = genmodels("train", *QUICK, "hydra.run.dir=locked")
    assert status == 2 and "no permission" in err and "locked" in err, err


def test_the_debug_variable_shows_the_traceback(genmodels, monkeypatch):
    monkeypatch.setenv("GENMODELS_DEBUG", "1")
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["genmodels", "evaluate"])
    with pytest.raises(UserError):
        main()


def test_a_crash_is_a_fault(genmodels):
    assert Crash.__module__ == "tests.helpers"
    crash = "+callbacks.crash={_target_:tests.helpers.Crash,after_batches:1}"
    status, err = genmodels("train", *QUICK, crash)
    assert status == 1 and "the machine failed" in err, err
