"""Checks that a model does what its class line promises, on random samples like its data; reads no data, keeps nothing.

The class line decides the checks (`genmodels.engine.contract`). Further checks: a training of two steps gives the same
as one step, a checkpoint and another step; and an export can be loaded.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Checkpoint
from torch.utils._pytree import tree_leaves

from genmodels.capabilities import (
    Clock,
    Completes,
    Compresses,
    Denoises,
    Encodes,
    HasLikelihood,
    HasLoss,
    HasPlayers,
    Samples,
    Translates,
)
from genmodels.clock import followers, set_clock
from genmodels.console import console
from genmodels.data.noise import NoiseData
from genmodels.engine import build, contract
from genmodels.engine.contract import Held, Wrong
from genmodels.errors import UserError
from genmodels.failures import explain, is_explained, one_line
from genmodels.fields import Field
from genmodels.run.checkpoint import load, model_of, read_checkpoint, weights_of
from genmodels.run.export import write_export
from genmodels.run.trust import calls_in
from genmodels.training.hooks import initialise, prepare_model
from genmodels.trees import part

CPU = torch.device("cpu")
BATCH, HELD = 8, 6  # samples of a step and of the other checks
STEPS = 2  # of its training
HERE = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}


class NotApplicable(Exception):  # noqa: N818
    """A check does not apply; says why."""


class Check(NamedTuple):
    """A check of models with a capability."""

    name: str
    capability: Any  # a class, or a union of them
    wrong: Callable[[Held], Wrong]
    promise: str  # in words: what holds if nothing is wrong


CHECKS = (
    Check("loss", HasLoss | HasPlayers, contract.losses, "one finite value for each sample"),
    Check("gradients", HasLoss | HasPlayers, contract.gradients, "they reach every trainable weight"),
    Check("players", HasPlayers, contract.players, "each trainable weight is moved by one of them"),
    Check("samples", Samples, contract.samples, "of the data's shape, type and range; a seed decides them"),
    Check("seeds of samples", Samples, contract.independence, "the same samples whatever the batch size"),
    Check("log_prob", HasLikelihood, contract.likelihood, "one finite value for each sample"),
    Check("completion", Completes, contract.completion, "it keeps what is given; the chain rule of probability holds"),
    Check("codes", Encodes, contract.codes, "what is decoded has the data's shape, type and range"),
    Check("compression", Compresses, contract.compression, "codes are as the model's `code` says"),
    Check("film", Denoises, contract.films, "it ends with the sample"),
    Check("translation", Translates, contract.translations, "it has the data's shape, type and range"),
)


def check(config: dict[str, Any]) -> None:
    """Prints a line for each check of the model of a checked config. UserError where any failed."""
    config = {**config, "compile": False, "logger": {}, "trainer": {**config["trainer"], **HERE, "max_steps": STEPS}}
    with TemporaryDirectory() as folder:
        results = [shown(*each) for each in checks_of({**config, "run_dir": folder}, Path(folder))]
    if failed := results.count("failed"):
        raise UserError(f"{failed} of {len(results)} checks failed; correct the model, as the lines above say")


def shown(name: str, promise: str, wrong: Callable[[], Wrong]) -> str:
    """Makes one check and prints its outcome: "ok", "failed" or "skipped"."""
    try:
        said = list(wrong())
        state, said = ("failed", said) if said else ("ok", [promise])
    except NotApplicable as why:
        state, said = "skipped", [str(why)]
    except Exception as error:  # anything that the user's own code may raise
        state, said = "failed", [in_words(error)]
    console.print(f"{state:8} {name:21} {'; '.join(said)}", soft_wrap=True, highlight=False, markup=False)
    return state


def in_words(error: Exception) -> str:
    """The exception, and the file and line that raised it."""
    if is_explained(error):
        return explain(error)[0]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    return f"{type(error).__name__}: {one_line(str(error))} ({frames[-1].filename}, line {frames[-1].lineno})"


def checks_of(config: dict[str, Any], folder: Path) -> Iterator[tuple[str, str, Callable[[], Wrong]]]:
    """Name, promise and function of each check that applies."""
    size = BATCH * config["trainer"]["accumulate_grad_batches"]
    like = build.instance(config["data"])
    data = NoiseData(x=like.x, condition=like.condition, batch_size=size, n=4 * size)
    model = build.model(config, fresh=True)
    for each in CHECKS:
        if isinstance(model, each.capability):
            yield each.name, each.promise, partial(kept, model, data, each)
    if isinstance(model, HasLikelihood):
        sums = partial(sum_of_probabilities, model, data, config)
        yield "sum of probabilities", "1, over all values of a few sites with few levels", sums
    yield (
        "training and resume",
        "two steps give the same as one step, a checkpoint, and another step",
        partial(resume, config, data, folder),
    )
    yield "export", "the loaded model gives the same", partial(export, config, data, folder)


def kept(model: Any, data: NoiseData, each: Check) -> Wrong:
    """What is wrong with a capability of the class line; NotApplicable where the parts do not allow it."""
    if why := getattr(model, "lacks", {}).get(each.capability):
        raise NotApplicable(why)
    return each.wrong(started(model, data))


def started(model: Any, data: NoiseData) -> Held:
    """A copy of the model as after the start of training, and a few samples."""
    held = few(deepcopy(model), data)
    initialise(held.model, (held.x, held.condition), seed=0)
    contract.jiggle(held.model, by=0.01)
    set_clock(followers(held.model), Clock(0, 0, STEPS))
    prepare_model(held.model.eval(), data, CPU)
    return held


def few(model: Any, data: NoiseData) -> Held:
    """The model and a few samples."""
    x, condition = data.split("train")
    return Held(model=model, x=part(x, slice(HELD)), condition=part(condition, slice(HELD)), fields=data.x)


def sum_of_probabilities(model: Any, data: NoiseData, config: Mapping[str, Any]) -> Wrong:
    """Checks the model on the first small space in `config["small"]` for which it can be built."""
    if model.bound != "exact":
        raise NotApplicable(f"log_prob is a bound ({model.bound})")
    why = "the data have no levels"
    for small in config["small"]:
        try:
            held = in_small(data, small, config)
        except Exception as error:  # it is for larger images
            why = f"it cannot be built for {small['shape']} of {small['levels']} levels: {in_words(error)}"
        else:
            return contract.total_probability(held)
    raise NotApplicable(why)


def in_small(data: NoiseData, small: Mapping[str, Any], config: Mapping[str, Any]) -> Held:
    """The same model on few sites and levels, if it has a likelihood."""
    assert isinstance(data.x, Field)
    x = data.x._replace(shape=tuple(small["shape"]), levels=small["levels"])
    model = build.model({**config, "model": small["model"]}, fresh=True)
    held = started(model, NoiseData(x=x, condition=data.condition, batch_size=BATCH, n=4 * BATCH))
    held.model.log_prob(held.x, held.told)
    return held


# Training


class EachStep(Checkpoint):
    """Writes a checkpoint N.ckpt after each step N."""

    def __init__(self, folder: Path):
        self.folder = folder

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.global_step}.ckpt")


def train(config: dict[str, Any], data: NoiseData, folder: Path, goes_on: Path | None = None) -> Path:
    """Trains up to step two; returns the last checkpoint."""
    trainer = build.trainer(config, {"each": EachStep(folder)})
    training = build.training(config, build.model(config, fresh=goes_on is None), data, trainer)
    trainer.fit(training, ckpt_path=goes_on, weights_only=True)
    return folder / f"{STEPS}.ckpt"


def resume(config: dict[str, Any], data: NoiseData, folder: Path) -> Wrong:
    """Two steps give the same bits as one step, a checkpoint, and another step."""
    whole = read_checkpoint(train(config, data, folder / "whole"))
    resumed = read_checkpoint(train(config, data, folder / "resumed", goes_on=folder / "whole" / "1.ckpt"))
    state = whole["state_dict"]
    other = [key for key in state if not state[key].equal(resumed["state_dict"][key])]
    if other:
        names = sorted({key.removeprefix("ema.").removeprefix("model.") for key in other})
        yield (
            f"a resumed run differs in {', '.join(names)}: what is kept between steps must be in parameters or "
            "buffers, and random numbers must come from torch's global generator"
        )
    optimizers = zip(*(tree_leaves(each["optimizer_states"]) for each in (whole, resumed)), strict=True)
    if not other and not all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in optimizers):
        yield "a resumed run differs in the state of its optimizer"


def export(config: dict[str, Any], data: NoiseData, folder: Path) -> Wrong:
    """The loaded export gives the same as the model."""
    file = folder / "whole" / f"{STEPS}.ckpt"
    if not file.is_file():
        raise NotApplicable("there is no checkpoint of its training")
    checkpoint = read_checkpoint(file)
    trusted = sorted({str(call["_target_"]).split(".")[0] for call in calls_in(config["model"])})
    model, about = model_of(checkpoint, trusted=trusted), {"weights": weights_of(checkpoint), "images_seen": None}
    write_export(folder / "export", model, config, {**about, "step": checkpoint["global_step"]})
    return contract.agreement(few(model, data), load(folder / "export", trusted=trusted))
