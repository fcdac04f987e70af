"""The table of bad inputs: what a person can get wrong, and the sentence and exit status that they get for it.

A row: its name, what is prepared in the empty folder that the command runs in (`root`), the words of the command, the
exit status, and a part of the sentence. In the words {run} is a finished little run. Grouped by what is wrong.
"""

import os
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pytest import MonkeyPatch
from sklearn.datasets import load_digits

QUICK = "trainer=smoke logger=none callbacks=none evaluator=[]"
TRAIN = f"train {QUICK}"
LOGGED = f"train {QUICK.replace('none', 'wandb', 1)}"
NPZ = f"{TRAIN} data=npz data.shape=[1,8,8] data.levels=256 data.path=bad.npz"
FOUND = f"{TRAIN} data=npz data.path=bad.npz"
X = (load_digits().images * 255 / 16).round().astype(np.uint8)  # (1797, 8, 8)
REAL, FAKE = X[:40], X[1000:1030]
FLOATS = np.random.default_rng(0).random((5, 8, 8, 3), dtype=np.float32)
PIXELS = "features=module features.name=pixels features.module._target_=torch.nn.Flatten"
SMALL = "features=classifier features.steps=2 features.width=4 features.dim=8"
SCORE = f"evaluate samples=fake reference=real evaluator=[fid] {PIXELS}"
SAVE = f"{TRAIN} evaluator=[likelihood] evaluator.likelihood.save"
LEARN = f"evaluate samples=fake reference=real evaluator=[fid] {SMALL}"
USER, FAULT = 2, 1
DEGRADED = "data=degraded"
OF_RUN = "model/space=of_run model.space.run={run}"
WRITTEN_ORDER = "model=made model/network/order=written model.network.order.entries="
RECIPE = "# A recipe with a slip\ndefaults: [vae, _self_, {override /optimizer@_global_.optimizer: adma}]\n"

Prepare = Callable[[Path, Path], object]  # root, run


class Row(NamedTuple):
    name: str
    prepare: Prepare | None
    words: str
    sentence: str
    status: int = USER
    environment: dict[str, str | None] = {}  # None: taken out


# What is prepared


def folder(root: Path, name: str, x: np.ndarray) -> Path:
    (root / name).mkdir(parents=True)
    for i, image in enumerate(x):
        Image.fromarray(image).save(root / name / f"{i:04}.png")
    return root / name


def sides(then: Callable[[Path], object] = lambda root: None) -> Prepare:
    """fake/ and real/, and what else there is."""

    def prepare(root: Path, run: Path) -> None:
        folder(root, "fake", FAKE)
        folder(root, "real", REAL)
        then(root)

    return prepare


def image(mode: str, size: tuple[int, int] = (8, 8)) -> Prepare:
    return sides(lambda root: Image.new(mode, size, 0).save(root / "fake" / "9.png"))


def animation(root: Path) -> None:
    frames = [Image.fromarray(image) for image in FAKE[:3]]
    frames[0].save(root / "fake" / "0001.webp", save_all=True, append_images=frames[1:], lossless=True)


def file(name: str, content: str | bytes = "") -> Prepare:
    def prepare(root: Path, run: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return prepare


def npz(**arrays) -> Prepare:
    return lambda root, run: np.savez(root / "bad.npz", **arrays)


def with_npz(**arrays) -> Prepare:
    return sides(lambda root: np.savez(root / "bad.npz", **arrays))


def lying_npz(root: Path, run: Path) -> None:
    """A header that claims 4 TB of images, in an archive of 300 bytes."""
    np.save(root / "x.npy", np.zeros((1, 8, 8), np.uint8))
    text = (root / "x.npy").read_bytes()
    with zipfile.ZipFile(root / "bad.npz", "w") as archive:
        archive.writestr("images.npy", text.replace(b"(1, 8, 8), }" + b" " * 13, b"(68719476736, 8, 8), }" + b" " * 3))
    (root / "x.npy").unlink()


def bomb(name: str) -> Prepare:
    """5 MB that unpack to 5 GB: entries that all begin at the same place."""

    def prepare(root: Path, run: Path) -> None:
        with zipfile.ZipFile(root / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images.npy", bytes(10_000_000))
            archive.filelist *= 500

    return prepare


def text_in_npz(root: Path) -> None:
    with zipfile.ZipFile(root / "bad.npz", "w") as archive:
        archive.writestr("images", "some text")


def checkpoint(change: Callable[[dict], object]) -> Prepare:
    """other.ckpt: that of the run, changed."""

    def prepare(root: Path, run: Path) -> None:
        whole = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        change(whole)
        torch.save(whole, root / "other.ckpt")

    return prepare


def lost_stage(root: Path, run: Path) -> None:
    """stage/: a run whose model has no codes."""
    whole = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    config = yaml.safe_load((run / "config.yaml").read_text())
    for each in (config, whole["config"]):
        each["model"] = {"_target_": "genmodels.nn.layers.unet.Upsample", "channels": 1}
    whole["state_dict"] = {"model.conv.weight": torch.zeros(1, 1, 3, 3), "model.conv.bias": torch.zeros(1)}
    (root / "stage" / "checkpoints").mkdir(parents=True)
    (root / "stage" / "config.yaml").write_text(yaml.safe_dump(config))
    torch.save(whole, root / "stage" / "checkpoints" / "last.ckpt")


def part_of_checkpoint(root: Path, run: Path) -> None:
    whole = (run / "checkpoints" / "last.ckpt").read_bytes()
    (root / "other.ckpt").write_bytes(whole[: len(whole) // 2])


def run_with(change: Callable[[dict], object]) -> Prepare:
    """other/: a run directory whose config.yaml was changed."""

    def prepare(root: Path, run: Path) -> None:
        config = yaml.safe_load((run / "config.yaml").read_text())
        change(config)
        (root / "other" / "checkpoints").mkdir(parents=True)
        (root / "other" / "config.yaml").write_text(yaml.safe_dump(config))
        (root / "other" / "checkpoints" / "last.ckpt").write_bytes((run / "checkpoints" / "last.ckpt").read_bytes())

    return prepare


def run_with_text(config: str) -> Prepare:
    return file("other/config.yaml", config)


def export_of(then: Callable[[Path], object]) -> Prepare:
    """model/: an export of the run, changed."""

    def prepare(root: Path, run: Path) -> None:
        from genmodels.run import export as exports
        from genmodels.run.checkpoint import model_of, read_checkpoint

        read = read_checkpoint(run / "checkpoints" / "last.ckpt")
        about = {"weights": "ema", "step": 4, "images_seen": 256}
        exports.write_export(root / "model", model_of(read), read["config"], about)
        then(root / "model")

    return prepare


def replaced(name: str, old: str, new: str) -> Callable[[Path], object]:
    return lambda where: (where / name).write_text((where / name).read_text().replace(old, new))


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


def shared_lists(config: dict) -> None:
    """9^12 entries, each list many times in the next."""
    node: list = ["x"]
    for _ in range(12):
        node = [node] * 9
    config["model"]["extra"] = node


# The table

COMMAND_LINE = [
    Row("command", None, "trian", "no command 'trian'; did you mean train?"),
    Row("dataset", None, f"{TRAIN} data=digit", "no data=digit; did you mean digits?"),
    Row("model", None, f"{TRAIN} model=vea", "no model=vea; did you mean vae?"),
    Row("experiment", None, f"{TRAIN} experiment=digits_vea", "did you mean digits_vae?"),
    Row("empty experiment", None, f"{TRAIN} experiment=", "there is no experiment=; choices are"),
    Row("evaluator", None, f"{TRAIN} evaluator=[likelihood,fdi]", "no evaluator=fdi; did you mean fid?"),
    Row("part of a model", None, f"{TRAIN} model/likelihood=bernouli", "did you mean bernoulli?"),
    Row("no option", None, f"{TRAIN} model=null", "there is no model=null; choices are"),
    Row("group", None, f"{TRAIN} modle=vae", "no key modle (set on the command line); did you mean model?"),
    Row("group of another command", None, "evaluate run={run} model=vae", "there is no key model (set on the command"),
    Row("key", None, f"{TRAIN} optimizer.lrr=1", "no key optimizer.lrr (set on the command line); did you mean optim"),
    Row("key like none", None, f"{TRAIN} xyzzy=1", "no key xyzzy (set on the command line); choices are baseline, "),
    Row(
        "added key",
        None,
        f"{TRAIN} +model.objective.bata=2",
        "no key model.objective.bata; did you mean beta? (set on the command line)",
    ),
    Row("added group", None, f"{TRAIN} +optim.lr=1", "no key optim; did you mean optimizer? (set on the command line)"),
    Row("syntax", None, f"{TRAIN} model=[1", "cannot read 'model=[1'"),
    Row(
        "key without a value",
        None,
        f"{TRAIN} model.objective.beta",
        "cannot read 'model.objective.beta'; write key=value",
    ),
    Row("environment that is not there", None, f"{TRAIN} name=${{oc.env:NO_SUCH}}", "variable 'NO_SUCH' not found"),
    Row("interpolation", None, f"{TRAIN} name=${{nonsense}}", "Interpolation key 'nonsense' not found"),
    Row("config directory", None, f"{TRAIN} --config-dir nowhere", "nowhere' not found"),
    Row("check of a sweep", None, "check model=vae,ddpm -m", "one model at a time; leave -m out"),
    Row("check of a run", None, "check resume={run}", "resume= is a run to continue, and check"),
    Row("check of no model", None, "check model=vea", "there is no model=vea; did you mean vae?"),
    Row(
        "key of a group",
        None,
        f"{TRAIN} lr=0.1",
        "no key lr (set on the command line); did you mean optimizer.lr or feat",
    ),
    Row(
        "option of one's own",
        file("c/data/mine.yaml", "# My data\n"),
        f"{TRAIN} data=mien --config-dir c",
        "there is no data=mien; did you mean mine?",
    ),
    Row("Hydra's option", None, f"{TRAIN} hydra/launcher=bsaic", "no hydra/launcher=bsaic; did you mean basic?"),
    Row(
        "experiment without its package",
        file("c/experiment/e.yaml", "defaults:\n  - override /model: ddpm\n"),
        f"{TRAIN} experiment=e --config-dir c",
        "its first line is not # @package _global_",
    ),
    Row(
        "byte order mark",
        file("c/experiment/e.yaml", "\ufeff# @package _global_\ndefaults:\n  - override /model: ddpm\n"),
        f"{TRAIN} experiment=e --config-dir c",
        "with nothing before it, such as a byte order mark",
    ),
    Row(
        "tab",
        file("c/experiment/e.yaml", "# @package _global_\nmodel:\n\tbeta: 2\n"),
        f"{TRAIN} experiment=e --config-dir c",
        "e.yaml, line 3, is not valid YAML",
    ),
    Row(
        "key twice",
        file("c/experiment/e.yaml", "# @package _global_\nseed: 1\nseed: 2\n"),
        f"{TRAIN} experiment=e --config-dir c",
        "e.yaml, line 3, is not valid YAML",
    ),
    Row("precision", None, f"{TRAIN} trainer.precision=fp16", "expected one of 32-true, bf16-mixed, 16-mixed"),
    Row("group to list", None, "list modle", "did you mean model?"),
]

VALUES = [
    Row("text for a number", None, f"{TRAIN} optimizer.lr=abc", "optimizer.lr is 'abc', expected a number"),
    Row("part of an integer", None, f"{TRAIN} data.batch_size=1.5", "data.batch_size is 1.5, expected an integer"),
    Row("number for a boolean", None, f"{TRAIN} channels_last=3", "channels_last is 3, expected true or false"),
    Row("choice", None, f"{TRAIN} sampler=ancestral sampler.variance=fast", "expected one of small, large"),
    Row("number for a part", None, f"{TRAIN} model.encoder=3", "model.encoder is 3, expected a part with _target_"),
    Row("nan_policy", None, f"{TRAIN} nan_policy=ignore", "nan_policy is 'ignore', expected one of stop, skip"),
    Row("compile", None, f"{TRAIN} compile=maybe", "compile is 'maybe', expected true or false"),
    Row(
        "negative seed",
        None,
        f"{TRAIN} seed=-1",
        "seed is -1, expected an integer of at least 0 (set on the command line)",
    ),
    Row(
        "endless training", None, f"{TRAIN} trainer.max_steps=-1", "max_steps is -1, expected an integer of at least 1"
    ),
    Row("no logging", None, f"{TRAIN} trainer.log_every_n_steps=0", "log_every_n_steps is 0, expected an integer of"),
    Row("negative clipping", None, f"{TRAIN} trainer.gradient_clip_val=-1", "clip_val is -1, expected a number of"),
    Row("EMA of nothing", None, f"{TRAIN} ema.decay=1", "ema.decay is 1, expected a number of at least 0 and below 1"),
    Row("empty path", None, f"{TRAIN} run_dir=''", "run_dir is empty, expected a path"),
    Row(
        "class that is not there",
        None,
        f"{TRAIN} model._target_=genmodels.models.vae.VEA",
        "not a class that can be imp",
    ),
    Row("module for a class", None, f"{TRAIN} model._target_=genmodels.models.vae", "which is not a class"),
    Row("class with other keys", None, f"{TRAIN} optimizer._target_=torch.optim.LBFGS", "no key optimizer.betas"),
    Row("rate out of range", None, f"{TRAIN} optimizer.lr=-1", "optimizer.lr is -1, expected a number of at least 0"),
    Row(
        "no machine", None, f"{TRAIN} trainer.num_nodes=0", "trainer.num_nodes is 0, expected an integer of at least 1"
    ),
    Row("accelerator", None, f"{TRAIN} trainer.accelerator=warp", "invalid accelerator name: `accelerator='warp'`"),
    Row("precision", None, f"{TRAIN} trainer.precision=64-true", "precision is '64-true', expected one of 32-true"),
    Row("likelihood of two values", None, f"{TRAIN} model/likelihood=bernoulli", "2"),
    Row("labels that are not there", None, f"{NPZ} model/conditioner=label", "model/conditioner=label needs labels"),
    Row(
        "batch that does not divide", None, f"{TRAIN} data.batch_size=33 trainer.accumulate_grad_batches=2", "multiple"
    ),
    Row("batch larger than the data", None, f"{TRAIN} data.batch_size=5000", "lower data.batch_size to 1297 or less"),
    Row("no batch", None, f"{TRAIN} data.batch_size=0", "data.batch_size is 0, expected an integer of at"),
    Row("validation larger than the data", None, f"{TRAIN} data.n_validation=5000", "cannot hold out 5000 of 1497"),
    Row("facts of the data", None, f"{TRAIN} data.levels=2", "digits has 17 levels, got 2"),
    Row(
        "subset before training",
        None,
        f"{TRAIN} evaluator=[kid] evaluator.kid.n=30",
        "subset_size=1000 for the kid of 30",
    ),
    Row(
        "neighbours before training",
        None,
        f"{TRAIN} evaluator=[precision_recall] evaluator.precision_recall.n=3000 evaluator.precision_recall.k=2000",
        "k=2000 for precision_recall with 1297 images in digits/train",
    ),
    Row("no draws", None, f"{TRAIN} evaluator=[likelihood] evaluator.likelihood.draws=0", "likelihood.draws is 0"),
    Row("split", None, f"{TRAIN} evaluator=[fid] evaluator.fid.reference=tset", "expected one of train, val, test"),
    Row("not a number", None, f"{TRAIN} model.objective.beta=nan", "beta is nan, expected a number of at least 0"),
    Row("infinite number", None, f"{TRAIN} scheduler=cosine scheduler.final=inf", "final is inf, expected a number"),
    Row("no number", None, f"{TRAIN} trainer.log_every_n_steps=null", "is null, expected an integer of at least 1"),
    Row(
        "number that others repeat",
        None,
        f"{TRAIN} model.latent_dim=0",
        "genmodels: model.latent_dim is 0, expected an integer of at least 1 (set on the command line)\n",
    ),
    Row("in a list", None, f"{TRAIN} model.encoder.multipliers=[0]", "is [0], expected a list, each an integer of"),
    *[
        Row(f"trainer's {flag}", None, f"{TRAIN} +trainer.{flag}={value}", f"trainer.{flag} is a setting of Lightning")
        for flag, value in {
            "max_epochs": 1,
            "max_time": "00:00:00:01",
            "enable_checkpointing": "false",
            "num_sanity_val_steps": 2,
            "callbacks": "null",
            "logger": "false",
            "plugins": "null",
            "default_root_dir": "o",
            "limit_train_batches": 1,
        }.items()
    ],
    Row(
        "best by what is not evaluated",
        None,
        f"{TRAIN} evaluator=[likelihood] callbacks=default callbacks.best.monitor=val/fid callbacks.best.mode=min",
        "callbacks.best.monitor=val/fid is not evaluated; choose one of val/bits_per_dim, val/nll_nats",
    ),
    Row(
        "best by nothing", None, f"{TRAIN} evaluator=[likelihood] callbacks=best", "choose callbacks=[evaluation,best]"
    ),
    Row(
        "classes that the features lack",
        None,
        f"{TRAIN} evaluator=[inception_score] {PIXELS}",
        "inception_score needs class probabilities",
    ),
    Row(
        "weights of features",
        None,
        f"{TRAIN} evaluator=[fid] features=inception features.weights=w.pth",
        "features.weights=w.pth is no file",
    ),
    Row("likelihoods below a file", file("f"), f"{SAVE}=f/a.npz", "f/a.npz cannot be used, since"),
    Row("likelihoods of another ending", None, f"{SAVE}=a.txt", "expected a file that ends in .npz"),
    Row("likelihoods as a folder", lambda root, run: (root / "a.npz").mkdir(), f"{SAVE}=a.npz", "a.npz is a folder"),
    Row("no test images", None, f"{TRAIN} evaluator=[likelihood] data.n_test=0", "set data.n_test above 0"),
    Row(
        "no validation images",
        None,
        f"{TRAIN} evaluator=[likelihood] callbacks=evaluation data.n_validation=0",
        "set data.n_validation above 0",
    ),
    Row("more steps than levels", None, f"{TRAIN} model=ddpm sampler.steps=251", "expected 1 to the model's 250 steps"),
    Row(
        "half of best",
        None,
        f"{TRAIN} evaluator=[likelihood] callbacks=default callbacks.best.mode=max",
        "both monitor and",
    ),
]

DATA = [
    Row("missing archive", None, f"{TRAIN} data=cifar10 data.urls=[]", "put the official cifar-10-binary.tar.gz into"),
    Row("missing cifar100", None, f"{TRAIN} data=cifar100 data.urls=[]", "cifar-100"),
    Row("missing celeba", None, f"{TRAIN} data=celeba", "celeba"),
    Row("missing imagenet32", None, f"{TRAIN} data=imagenet32", "imagenet32"),
    Row("missing mnist_static", None, f"{TRAIN} data=mnist_static data.urls=[]", "binarized_mnist_train.amat"),
    Row("missing omniglot", None, f"{TRAIN} data=omniglot data.urls=[]", "chardata.mat"),
    Row("missing table", None, f"{TRAIN} data=tabular model=realnvp_points data.urls=[]", "data.tar.gz"),
    Row("table", None, f"{TRAIN} data=tabular model=realnvp_points data.table=powr", "powr"),
    Row("density", None, f"{TRAIN} data=toy2d model=realnvp_points data.distribution=8gausians", "8gausians"),
    Row("pixels' model on points", None, f"{TRAIN} data=toy2d", "choose a model of points"),
    Row("image_folder without a path", None, f"{TRAIN} data=image_folder data.shape=[1,8,8]", "data.path is not given"),
    Row("no image folder", None, f"{TRAIN} data=image_folder data.shape=[1,8,8] data.path=nowhere", "nowhere"),
    Row("npz without a path", None, f"{TRAIN} data=npz data.shape=[1,8,8]", "data.path is not given; set it on the co"),
    Row("missing npz", None, NPZ, "bad.npz is not there"),
    Row("a text as npz", file("bad.npz", "no"), NPZ, "bad.npz cannot be read"),
    Row("a folder as npz", lambda root, run: (root / "bad.npz").mkdir(), NPZ, "bad.npz cannot be read"),
    Row("pickled objects", npz(images=np.array([{}, {}], dtype=object)), NPZ, "Object arrays cannot be loaded"),
    Row("a header that lies", lying_npz, NPZ, "bad.npz cannot be read"),
    Row("a zip bomb", bomb("bad.npz"), NPZ, "would unpack to 5000000000, which may be an attack"),
    Row("keys", npz(z=FAKE), NPZ, "bad.npz has the keys z, expected one of images"),
    Row("floats for pixels", npz(images=FLOATS[..., 0]), NPZ, "bad.npz has an array of float32"),
    Row("another shape", npz(images=FAKE[:, :4]), NPZ, "n samples of shape [1, 8, 8]"),
    Row(
        "fewer images than are held out",
        npz(images=X[:300]),
        NPZ,
        "cannot hold out 1000 of 300 samples (data.n_test), expected 0 to 299; lower data.n_test",
    ),
    Row("shape that is not found", None, FOUND, "bad.npz is not there"),
    Row("shape that is not clear", npz(images=np.zeros((9, 3, 8, 3), np.uint8)), FOUND, "data.shape=[c,h,w]"),
    Row("levels that are not said", npz(images=X.astype(np.int64)), FOUND, "set data.levels=N"),
    Row(
        "levels that are no number", npz(images=X, levels=np.array(["many"])), FOUND, "levels=['many'], expected one in"
    ),
    Row(
        "more levels than values",
        npz(images=X),
        f"{FOUND} data.levels=257",
        "bad.npz has uint8 values, 0..255; correct it",
    ),
    Row("a corrupt archive", file("data/mnist/train-images-idx3-ubyte.gz", b"no"), f"{TRAIN} data=mnist", "has md5"),
]

CHECKPOINTS = [
    Row("no model", None, "evaluate", "give the model: run=RUN_DIR, or checkpoint=FILE"),
    Row("two models", None, "sample run={run} checkpoint=x", "not both"),
    Row("no run to evaluate", None, "evaluate run=nowhere", "nowhere does not exist"),
    Row("no run to sample", None, "sample run=nowhere", "nowhere does not exist"),
    Row("folder that is no run", lambda root, run: (root / "a").mkdir(), "sample run=a", "a is not a run directory"),
    Row("file as run", None, "sample run={run}/config.yaml", "is a file, expected a run directory"),
    Row("folder as checkpoint", None, "sample checkpoint={run}", "is a folder, expected a file"),
    Row("no best checkpoint", None, "evaluate run={run} which=best", "no checkpoint best.ckpt"),
    Row(
        "half of a checkpoint",
        part_of_checkpoint,
        "evaluate checkpoint=other.ckpt",
        "other.ckpt is damaged or incomplete",
    ),
    Row("empty file", file("other.ckpt"), "evaluate checkpoint=other.ckpt", "other.ckpt is damaged or incomplete"),
    Row(
        "another torch file",
        lambda root, run: torch.save({}, root / "a.ckpt"),
        "sample checkpoint=a.ckpt",
        "lacks config",
    ),
    Row(
        "without a model",
        checkpoint(lambda c: c["config"].pop("model")),
        "sample checkpoint=other.ckpt",
        "has no model",
    ),
    Row("without data", checkpoint(lambda c: c["config"].pop("data")), "evaluate checkpoint=other.ckpt", "has no data"),
    Row(
        "another width",
        checkpoint(lambda c: c["config"]["model"]["decoder"].update(width=4)),
        "sample checkpoint=other.ckpt",
        "model cannot be built by this version",
    ),
    Row(
        "key of another version",
        checkpoint(lambda c: c["config"]["model"].update(gamma=4)),
        "sample checkpoint=other.ckpt",
        "model cannot be built by this version",
    ),
    Row(
        "interpolation",
        checkpoint(lambda c: c["config"]["model"]["objective"].update(beta="${oc.env:HOME}")),
        "sample checkpoint=other.ckpt",
        "has the interpolation '${oc.env:HOME}'",
    ),
    Row("too many lists", checkpoint(lambda c: shared_lists(c["config"])), "sample checkpoint=other.ckpt", "more than"),
    Row(
        "tuple",
        checkpoint(lambda c: c["config"]["model"].update(encoder=({"_target_": "os.getcwd"},))),
        "sample checkpoint=other.ckpt",
        "has a tuple in its config",
    ),
    Row(
        "class of another package",
        checkpoint(lambda c: c["config"]["model"].update(encoder={"_target_": "genmodelsevil.Encoder"})),
        "sample checkpoint=other.ckpt",
        "names genmodelsevil.Encoder, which is not a class of genmodels",
    ),
    Row("a bomb", bomb("other.ckpt"), "sample checkpoint=other.ckpt", "would unpack to 5000000000"),
    Row(
        "export without config", export_of(lambda f: (f / "config.yaml").unlink()), "sample run=model", "no config.yaml"
    ),
    Row(
        "export that is cut",
        export_of(lambda f: os.truncate(f / "model.safetensors", 1000)),
        "sample run=model",
        "model.safetensors is damaged or incomplete",
    ),
    Row(
        "export of nothing",
        export_of(replaced("config.yaml", "weights: ema", "weights: both")),
        "sample run=model",
        "does not say which weights",
    ),
    Row("export to resume", export_of(lambda f: None), "train resume=model", "is an export, expected a run"),
    Row("export over a folder", file("a/b"), "export run={run} out=a", "out=a is not an empty folder"),
    Row(
        "weights that are not there", export_of(lambda f: None), "export run=model out=a weights=raw", "no raw weights"
    ),
    Row("nowhere to export", None, "export run={run}", "out is not given; set it on the command line"),
]

RUN_DIRECTORIES = [
    Row(
        "run that is there", None, f"{TRAIN} hydra.run.dir={{run}}", "contains a run already; continue it with resume="
    ),
    Row(
        "long name", None, f"sample run={{run}} out={'x' * 300}.png", "out has a name of 304 bytes, xxxxxxxxxxxxxxxxxxx"
    ),
    Row("long folder", None, f"{TRAIN} hydra.run.dir=a/{'ä' * 150}", "hydra.run.dir has a name of 300 bytes"),
    Row("long folder to resume", None, f"train resume={'x' * 300}", "resume has a name of 300 bytes"),
    Row("long name to report on", None, f"report {'x' * 300}", "File name too long"),
    Row("home of nobody", None, "sample run=~nobody-here/a", "run=~nobody-here/a: ~nobody-here has no home"),
    Row(
        "run of nobody",
        None,
        "train resume=~nobody-here",
        "~nobody-here has no home directory; write the folder in full",
    ),
    Row("report of nobody", None, "report ~nobody-here", "begins with ~ and the name of an unknown user"),
    Row(
        "data of nobody",
        None,
        f"{TRAIN} data=mnist",
        "begins with ~ and the name of an unknown user",
        environment={"GENMODELS_DATA": "~nobody-here"},
    ),
    Row("no run to resume", None, "train resume=nowhere", "nowhere is not a run directory"),
    Row("nothing to resume", None, "train resume=", "resume= names no run"),
    Row(
        "checkpoint to resume", None, "train resume={run}/checkpoints/last.ckpt", "is a file, expected a run directory"
    ),
    Row("several to resume", None, "train -m resume={run} seed=1,2", "seed=1,2 would change what"),
    Row("other model", None, "train resume={run} model.objective.beta=2", "model.objective.beta=2 would change what"),
    Row("other data", None, "train resume={run} data=mnist", "data=mnist would change what"),
    Row("other seed", None, "train resume={run} seed=1", "start a new run"),
    Row("other rate", None, "train resume={run} optimizer.lr=1", "start a new run"),
    Row("other experiment", None, "train resume={run} experiment=digits_vae", "start a new run"),
    Row("trusted as text", None, "train resume={run} trusted=mine", "expected a list of packages: trusted=[mine]"),
    Row("no YAML", run_with_text("a: ["), "train resume=other", "is not valid YAML"),
    Row("YAML of nothing", run_with_text(""), "train resume=other", "has no data"),
    Row("list", run_with_text("- 1"), "train resume=other", "not a mapping of keys to values"),
    Row("billion laughs", run_with_text(LAUGHS), "train resume=other", "repeats parts by YAML aliases"),
    Row("deep YAML", run_with_text("a: " + "[" * 3000), "train resume=other", "more than 50 nested lists or mappings"),
    Row("large YAML", run_with_text("a: " + "x" * 600_000), "train resume=other", "is larger than 500000 bytes"),
    Row("object in YAML", run_with_text("a: !!python/name:os.system"), "train resume=other", "not valid YAML"),
    Row(
        "secret of the environment",
        run_with(lambda c: c.update(name="${oc.env:HOME}")),
        "train resume=other",
        "has the interpolation '${oc.env:HOME}'",
    ),
    Row(
        "callback of another package",
        run_with(lambda c: c["callbacks"].update(x={"_target_": "os.system", "command": "touch attacked"})),
        "train resume=other",
        "names os.system, which is not a class of genmodels or torch.optim or pytorch_lightning.trainer or optuna",
    ),
    Row(
        "plugin of Hydra",
        run_with(
            lambda c: c.update(hydra={"callbacks": {"x": {"_target_": "os.system", "command": "touch attacked"}}})
        ),
        "train resume=other",
        "has the key hydra, which controls Hydra",
    ),
    Row(
        "no table",
        file("o/metrics.csv", "x"),
        f"train {QUICK.replace('none', 'csv', 1)} hydra.run.dir=o",
        "is not a table of metrics",
    ),
]

CONTRACTS = [
    Row(
        "condition", None, f"{TRAIN} model=ddpm model/conditioner=image", "needs the condition 'image', and the data ha"
    ),
    Row(
        "maps for a vector", None, f"{TRAIN} {DEGRADED} model/conditioner=image", "takes vector of a condition, and mod"
    ),
    Row("patches", None, f"{TRAIN} model=tarflow model.bijections.tarflow.patch=3", "images of 8x8 and patches of 3x3"),
    Row("guidance of nothing", None, f"{TRAIN} model=ddpm sampler.guidance=2", "guidance"),
    Row("guidance untrained", None, f"{TRAIN} model=ddpm model/conditioner=label sampler.guidance=2", "drop"),
    Row(
        "probability",
        None,
        f"{TRAIN} model=ddpm model/conditioner=label model.conditioner.drop=1",
        "model.conditioner.drop is 1",
    ),
    Row("interval", None, f"{TRAIN} model=ddpm sampler.guidance_interval=[2,1]", "guidance_interval is [2, 1], expec"),
    Row("sampler", None, f"{TRAIN} sampler=ddim", "VAE cannot be sampled by DDIM"),
    Row("sampler of noise", None, f"{TRAIN} model=ddpm sampler=direct", "Diffusion cannot be sampled by Direct"),
    Row(
        "truncation", None, f"{TRAIN} model=realnvp sampler.truncation=0.5", "sampler.truncation=0.5 means nothing to F"
    ),
    Row("temperature", None, f"{TRAIN} model=dcgan sampler.temperature=0.5", "temperature=0.5 means nothing to GAN"),
    Row(
        "no temperature", None, f"{TRAIN} sampler.temperature=0", "sampler.temperature is 0, expected a number above 0"
    ),
    Row(
        "first stage", None, f"{TRAIN} model=pixelcnn model/space=of_run model.space.run=nowhere", "nowhere does not e"
    ),
    Row("no codes", lost_stage, f"{TRAIN} model=pixelcnn model/space=of_run model.space.run=stage", "codes"),
    Row("first stage of other data", None, f"{TRAIN} model=ddpm {OF_RUN} data.shape=[1,16,16]", "[1, 8, 8]"),
    Row("player", None, f"{TRAIN} model=dcgan +players.critic.lr=1", "players.critic is not a player of GAN"),
    Row("player's setting", None, f"{TRAIN} model=dcgan +players.generator.rate=1", "rate"),
    Row("group", None, f"{TRAIN} parameter_groups=no_decay parameter_groups.no_decay.weight_dekay=0", "weight_dekay"),
    Row(
        "character",
        file("a.txt", "h\u00e9llo " * 900),
        f"{TRAIN} data=text data.path=a.txt model=transformer",
        "\u00e9",
    ),
    Row("twice in an order", None, f"{TRAIN} {WRITTEN_ORDER}[0,0,1]", "the order [0, 0, 1] is no permutation of 0..2"),
    Row("short order", None, f"{TRAIN} {WRITTEN_ORDER}[1,0]", "the order has 2 entries and a sample has 64"),
    Row("recipe", file("c/model/own.yaml", RECIPE), f"{TRAIN} model=own --config-dir c", "adma"),
]

SAMPLING = [
    Row("label", None, "sample run={run} label=3", "unconditional"),
    Row(
        "labels", None, "sample run={run} label=[1,2]", "label=[1, 2] is for a conditional model, and this one is unco"
    ),
    Row("no label", None, "sample run={run} label=[1,-2]", "label is [1, -2], expected an integer of at least 0 or a "),
    Row("sampler", None, "sample run={run} sampler=ddim", "cannot be sampled by DDIM"),
    Row("meaningless", None, "sample run={run} sampler=direct sampler.truncation=1", "means nothing to VAE"),
    Row("condition", npz(image=X[:2, None]), "sample run={run} n=2 condition=bad.npz", "condition"),
    Row("completion", None, "sample run={run} task=complete", "this model cannot complete samples"),
    Row("given", None, "sample run={run} given=3", "given= is for task=complete, and task is sample"),
    Row("task", None, "sample run={run} task=translate", "translate"),
    Row("sampler of an evaluation", None, "evaluate run={run} sampler=ddim", "cannot be sampled by DDIM"),
    Row("precision", None, "evaluate run={run} precision=64", "precision"),
    Row("no samples", None, "sample run={run} n=0", "n is 0, expected an integer of at least 1"),
    Row("no batch", None, "sample run={run} batch_size=0", "batch_size is 0, expected an integer of at"),
    Row("ending", None, "sample run={run} n=2 out=x.gif", "unknown ending"),
    Row("device", None, "sample run={run} device=gpu", "device=gpu cannot be used"),
    Row("full folder", file("full/mine.png", "x"), "sample run={run} n=2 out=full", "not empty"),
    Row("below a file", file("a"), "sample run={run} n=2 out=a/b.png", "a/b.png cannot be used, since"),
    Row("file that is a folder", file("a.png/b"), "sample run={run} n=2 out=a.png", "a.png is a folder"),
    Row(
        "likelihoods", file("a"), "evaluate run={run} evaluator=[likelihood] evaluator.likelihood.save=a/b.npz", "since"
    ),
    Row(
        "classes that the features lack",
        None,
        f"evaluate run={{run}} evaluator=[likelihood,inception_score] {PIXELS}",
        "inception_score needs class probabilities",
    ),
    Row("split", None, "evaluate run={run} split=tests", "split is 'tests', expected one of train, val, test"),
    Row("dataset of a run", None, "evaluate run={run} data=mnist", "there is no key data"),
    Row(
        "no likelihoods",
        None,
        "evaluate run={run} evaluator=[likelihood] evaluator.likelihood.max_samples=0",
        "max_samp",
    ),
    Row(
        "Inception's weights",
        None,
        "evaluate run={run} features=inception features.weights=a evaluator=[fid]",
        "no file",
    ),
    Row(
        "weights with code",
        file("w.pth", b"\x80\x04cos\nmkdir\n\x8c\x08attacked\x85R."),
        "evaluate run={run} features=inception features.weights=w.pth features.sha256=any evaluator=[fid]",
        "w.pth is refused",
    ),
]

IMAGES = [
    Row("reference alone", None, "evaluate reference=real", "samples is not given"),
    Row("samples alone", sides(), "evaluate samples=fake", "reference is not given"),
    Row(
        "a model as well", sides(), f"{SCORE} run=somewhere", "run= names a model, samples= and reference= name images"
    ),
    Row("a key of runs", sides(), f"{SCORE} split=test", "there is no key split"),
    Row("no folder", sides(), f"{SCORE} samples=nowhere", "samples=nowhere does not exist"),
    Row("no images", sides(lambda r: (r / "a").mkdir()), f"{SCORE} samples=a", "a has no images, expected .png"),
    Row("another file", sides(lambda r: (r / "a.zip").touch()), f"{SCORE} samples=a.zip", "neither a folder of images"),
    Row(
        "an empty image", sides(lambda r: (r / "fake" / "0002.png").write_bytes(b"")), SCORE, "0002.png cannot be read"
    ),
    Row(
        "a broken image",
        sides(lambda r: os.truncate(r / "fake" / "0003.png", 60)),
        SCORE,
        f"fake{os.sep}0003.png cannot be read",
    ),
    Row("sizes", image("L", (7, 8)), SCORE, "0000.png is 8x8 and fake/9.png is 8x7 (height x width)"),
    Row("an animation", sides(animation), SCORE, "0001.webp is an animation of 3 images"),
    Row("transparency", image("RGBA"), SCORE, "9.png has transparent pixels"),
    Row("16 bits", image("I;16"), SCORE, "9.png has values of mode I;16, expected 8 bits"),
    Row("an image bomb", image("1", (16000, 12000)), SCORE, "9.png has more than 89478485 pixels"),
    Row("one sample", sides(lambda r: folder(r, "one", FAKE[:1])), f"{SCORE} samples=one", "got 1 images in one"),
    Row("one reference", sides(lambda r: folder(r, "one", FAKE[:1])), f"{SCORE} reference=one", "got 1 images in one"),
    Row("more than there are", sides(), f"{SCORE} n=64", "got n=64 of 30 images in fake"),
    Row("n of an evaluator", sides(), f"{SCORE} evaluator.fid.n=10", "for existing images, set n="),
    Row(
        "reference", sides(), f"{SCORE} reference=digit", "reference=digit is neither a dataset (did you mean digits?)"
    ),
    Row("open keys", sides(), f"{SCORE} reference=npz", "give the folder or the .npz file itself: reference=PATH"),
    Row("a split of a folder", sides(), f"{SCORE} reference_split=test", "reference=real has no splits"),
    Row("a model's evaluator", sides(), f"{SCORE} evaluator=[likelihood]", "evaluator=likelihood measures a model"),
    Row("keys", with_npz(z=FAKE), f"{SCORE} samples=bad.npz", "has the keys z, expected images or arr_0"),
    Row(
        "floats in 0..1", with_npz(images=FLOATS), f"{SCORE} samples=bad.npz", "look like values in 0..1: store (255 *"
    ),
    Row("floats in -1..1", with_npz(images=2 * FLOATS - 1), f"{SCORE} samples=bad.npz", "(127.5 * x + 127.5)"),
    Row("integers", with_npz(images=FAKE.astype(int)), f"{SCORE} samples=bad.npz", "values of int64 from 0 to 255"),
    Row("shape", with_npz(images=FAKE[0]), f"{SCORE} samples=bad.npz", "array of shape (8, 8), expected images"),
    Row("binary", with_npz(images=(FAKE > 0).astype(np.uint8)), f"{SCORE} samples=bad.npz", "no value above 1"),
    Row("data units", with_npz(images=FAKE // 16), f"{SCORE} samples=bad.npz reference=digits", "like the 17 levels"),
    Row(
        "no levels", with_npz(images=FAKE, levels=np.zeros(2)), f"{SCORE} samples=bad.npz", "levels=[0.0, 0.0], expect"
    ),
    Row(
        "labels that number no classes",
        with_npz(images=FAKE, labels=np.full(30, 3_000_000_000)),
        f"{LEARN} reference=bad.npz",
        "expected a class number for each of 30 images, below 100000",
    ),
    Row("no npz", sides(lambda r: (r / "bad.npz").write_text("no")), f"{SCORE} samples=bad.npz", "cannot be read"),
    Row("a text in it", sides(text_in_npz), f"{SCORE} samples=bad.npz", "has the keys (none), expected"),
    Row("a bomb", sides(lambda r: bomb("bad.npz")(r, r)), f"{SCORE} reference=bad.npz", "would unpack to 5000000000"),
    Row(
        "statistics of another dimension",
        with_npz(mu=np.zeros(5), sigma=np.eye(5)),
        f"{SCORE} reference=bad.npz",
        "bad.npz has statistics of 5 dimensions, and features=pixels has 64",
    ),
    Row(
        "statistics of no dimensions",
        with_npz(mu=np.zeros(0), sigma=np.zeros((0, 0))),
        f"{SCORE} reference=bad.npz",
        "expected finite numbers (d,) and (d, d), d at least 1",
    ),
    Row(
        "statistics that are not symmetric",
        with_npz(mu=np.zeros(64), sigma=np.triu(np.ones((64, 64)))),
        f"{SCORE} reference=bad.npz",
        "bad.npz has a sigma that is no covariance: it is not symmetric (by 1,",
    ),
    Row(
        "statistics of negative variance",
        with_npz(mu=np.zeros(64), sigma=np.diag([1.0] * 63 + [-0.5])),
        f"{SCORE} reference=bad.npz",
        "bad.npz has a sigma that is no covariance: it has an eigenvalue of -0.5; expected a symmetric matrix",
    ),
    Row(
        "a classifier of no features",
        sides(),
        f"{LEARN} features.dim=0",
        "features.dim is 0, expected an integer of at least 1",
    ),
    Row(
        "statistics instead of images",
        with_npz(mu=np.zeros(64), sigma=np.eye(64)),
        f"{SCORE} reference=bad.npz evaluator=[fid,kid]",
        "kid needs reference images, and bad.npz holds only their mu and sigma",
    ),
    Row("statistics as samples", with_npz(mu=np.zeros(5)), f"{SCORE} samples=bad.npz", "has the keys mu, expected ima"),
    Row("no classes", sides(), f"{SCORE} evaluator=[inception_score]", "needs class probabilities"),
    Row(
        "a classifier without images",
        with_npz(mu=np.zeros(8), sigma=np.eye(8)),
        f"{LEARN} reference=bad.npz",
        "give classifier_data=DATASET (",
    ),
    Row("an unknown classifier", sides(), f"{LEARN} classifier_data=digit", "classifier_data=digit is not a dataset"),
    Row("a classifier's data for others", sides(), f"{SCORE} classifier_data=digits", "is for features=classifier"),
    Row(
        "a classifier of another size",
        sides(lambda r: folder(r, "wide", np.zeros((3, 8, 9), np.uint8))),
        f"{LEARN} samples=wide",
        "wide has images of 8x9, and real, which the features are prepared for, of 8x8",
    ),
    Row(
        "colours for a classifier of grey",
        with_npz(images=np.random.default_rng(0).integers(256, size=(5, 8, 8, 3), dtype=np.uint8)),
        f"{LEARN} samples=bad.npz",
        "bad.npz has coloured pictures",
    ),
    Row(
        "too many neighbours", sides(), f"{SCORE} evaluator=[precision_recall] evaluator.precision_recall.k=35", "k=35"
    ),
]


ENVIRONMENTS = [
    Row(
        "data nowhere", None, f"{TRAIN} data=mnist data.urls=[]", "is not there", environment={"GENMODELS_DATA": "/no"}
    ),
    Row(
        "data in a file",
        file("f"),
        f"{TRAIN} data=mnist data.urls=[]",
        "train-images-idx3-ubyte.gz is not there",
        environment={"GENMODELS_DATA": "f"},
    ),
    Row(
        "cache in a file",
        lambda root, run: (sides()(root, run), (root / "f").touch()),
        f"{LEARN}",
        "set GENMODELS_CACHE to a directory that can be written",
        environment={"GENMODELS_CACHE": "f"},
    ),
    Row("W&B", None, LOGGED, "WANDB_MODE", environment={"WANDB_MODE": "nonsense"}),
    Row("W&B's switch", None, LOGGED, "WANDB_DISABLED is 'perhaps'", environment={"WANDB_DISABLED": "perhaps"}),
    Row("W&B's project", None, f"{LOGGED} logger.wandb.project=a/b", "W&B refuses logger.wandb.project=a/b"),
    Row("W&B's run", None, LOGGED, "W&B refuses an environment variable", environment={"WANDB_RUN_ID": "a/b"}),
    Row("no rank", None, TRAIN, "variable RANK is 'first', expected a whole", environment={"RANK": "first"}),
    Row("no GPU", None, f"{TRAIN} trainer=gpu", "gpu"),
    Row("no GPUs to shard over", None, f"{TRAIN} trainer=fsdp", "gpu"),
    Row("half precision on the CPU", None, f"{TRAIN} trainer.precision=16-mixed", "needs a GPU and there is none"),
    Row(
        "half of torchrun",
        None,
        "evaluate run={run} evaluator=[likelihood]",
        "TORCHELASTIC_RUN_ID is set and MASTER_ADDR is not; start by torchrun",
        environment={"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": None},
    ),
    Row("a stray rank", None, TRAIN, "LOCAL_RANK=1 is set", environment={"LOCAL_RANK": "1"}),
    Row(
        "a stray rank of two",
        None,
        f"{TRAIN} trainer=ddp trainer.accelerator=cpu trainer.devices=2",
        "LOCAL_RANK=0 is set, as in one of several processes",
        environment={"LOCAL_RANK": "0"},
    ),
    Row("permission", None, f"{TRAIN} hydra.run.dir=/proc/run", "/proc/run cannot be used"),
    Row("a file in the way", file("o"), f"{TRAIN} hydra.run.dir=o/run", "o/run cannot be used (Not a directory)"),
]

FAULTS = [
    Row("not finite", None, f"{TRAIN} model.objective.beta=1e300 hydra.run.dir=o", "not finite at step 1", FAULT),
    Row(
        "crash",
        None,
        f"{TRAIN} hydra.run.dir=o +callbacks.a={{_target_:tests.helpers.Crash,after_batches:1}}",
        "o/error.log)",
        FAULT,
    ),
]

TABLE = {
    f"{kind}: {row.name}": row
    for kind, rows in {
        "command line": COMMAND_LINE,
        "value": VALUES,
        "data": DATA,
        "checkpoint": CHECKPOINTS,
        "run directory": RUN_DIRECTORIES,
        "contract": CONTRACTS,
        "sampling": SAMPLING,
        "images": IMAGES,
        "environment": ENVIRONMENTS,
        "fault": FAULTS,
    }.items()
    for row in rows
}


MANY = ("value", "data", "checkpoint", "images")  # kinds of so many rows that they belong to the slow tests


def of_kinds(*kinds: str) -> list:
    """The rows of these kinds, a case each."""
    return [
        pytest.param(row, marks=pytest.mark.slow if kind in MANY else (), id=name)
        for name, row in TABLE.items()
        if (kind := name.split(":")[0]) in kinds
    ]


def content(*folders: Path) -> dict[str, bytes | None]:
    """Every file with what is in it, and every folder."""
    return {str(path): path.read_bytes() if path.is_file() else None for top in folders for path in top.rglob("*")}


def assert_refused(row: Row, genmodels: Callable, run_dir: Path, tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    """Runs a row's command: its sentence and status, and where it is the person's mistake nothing changed on disk."""
    if row.prepare:
        row.prepare(tmp_path, run_dir)
    for key, value in row.environment.items():
        if value is None:
            monkeypatch.delenv(key, raising=False)
        else:
            monkeypatch.setenv(key, value)
    before = content(tmp_path, run_dir)
    status, err = genmodels(*(word.replace("{run}", str(run_dir)) for word in shlex.split(row.words)))
    assert (status, row.sentence in err) == (row.status, True), err
    *_, last = err.splitlines()
    assert last.startswith("genmodels: ") and "Traceback" not in err, err
    if row.status == USER:
        assert content(tmp_path, run_dir) == before
