"""Draws, completes or translates samples with a run's model, and writes a picture, a text or arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from genmodels.capabilities import Completes, Condition, Prepares, Samples, Translates, can, require_given, why_not
from genmodels.config.foreign import print_left_out, without_foreign_paths
from genmodels.console import console
from genmodels.engine.conditions import conditions
from genmodels.engine.originals import originals, to_complete
from genmodels.engine.trained import named_checkpoint, with_sampler
from genmodels.errors import UserError
from genmodels.evaluators.precision import autocast
from genmodels.kinds import kind_of
from genmodels.kinds.base import Kind, NamedSamples, SideBySide
from genmodels.pictures import save as save_picture
from genmodels.processes.group import device_named, process_group
from genmodels.processes.rendezvous import this_process
from genmodels.progress import tracked
from genmodels.rank import is_rank_zero
from genmodels.run.checkpoint import model_of, read_checkpoint
from genmodels.run.data import data_of, fields_of
from genmodels.seeds import ByNumber, seeded
from genmodels.training.hooks import prepare_model
from genmodels.trees import cat, count, first, part, to

MADE = {"sample": "sample", "complete": "completion", "translate": "translation"}  # what a task makes
READ = 3  # samples of a readable kind, such as text, that are printed


class DrawnSamples(NamedTuple):
    """Samples, completions or translations, in data units on the CPU."""

    x: Any
    condition: Condition  # of each sample
    originals: Any  # what was completed or translated; None for samples
    kind: Kind  # how it can be shown and saved
    model: Any
    what: str  # of MADE


def sample(config: dict[str, Any]) -> None:
    """Does the task of a checked, resolved config; each process does its part, and rank zero writes `out`."""
    drawn = draw(config)
    if not is_rank_zero():
        return
    out = output_path(config["out"], drawn.kind)
    write_samples(drawn, out)
    if text := drawn.kind.text(first(drawn.x, READ)):
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    console.print(f"{count(drawn.x)} samples: {out}", soft_wrap=True, highlight=False)


def output_path(out: str | None, kind: Kind) -> Path:
    """The file or folder for the samples: the given one, else a default name in the working directory."""
    return Path(out or kind.file).expanduser()


def draw(config: dict[str, Any]) -> DrawnSamples:
    """Does the task; raises UserError before the work where `out` cannot be written."""
    file = named_checkpoint(config)
    checkpoint = read_checkpoint(file)
    device = device_named(config["device"])
    model = with_sampler(model_of(checkpoint, trusted=config["trusted"]), config["sampler"]).to(device)
    node, left = without_foreign_paths("data", checkpoint["config"].get("data"))
    print_left_out(left, file)
    kind = kind_of(fields_of(node, config["trusted"]))
    kind.require_format(output_path(config["out"], kind), model)
    if can(model, Prepares):
        prepare_model(model, data_of(node, config["trusted"]), device)
    make = {"sample": samples, "complete": completions, "translate": translations}[config["task"]]
    with process_group(device), autocast(config["precision"], device):
        return DrawnSamples(*make(model, config, node, device), kind, model, MADE[config["task"]])


def write_samples(drawn: DrawnSamples, out: Path) -> None:
    """Writes samples; a picture of completions or translations shows the originals above them."""
    kind, x = drawn.kind, drawn.x
    if drawn.originals is None or out.suffix != ".png" or not isinstance(kind, SideBySide):
        kind.save(x, out, drawn.model, drawn.condition)
    else:
        rows = {"original": drawn.originals, drawn.what: x}
        save_picture(kind.stacked([NamedSamples(name, values, kind.of) for name, values in rows.items()]), out)


def samples(model: Any, config: dict[str, Any], node: Any, device: Any) -> tuple[Any, Condition, None]:
    """`n` samples in data units on the CPU, and their conditions. A sample depends on the seed and its number, not on
    the batch size."""
    if reason := why_not(model, Samples):
        raise UserError(f"this model draws no samples ({reason}); give another run, or another task=")
    given = conditions(model, config, node)

    def of(start: int, size: int) -> Any:
        condition = to(part(given, slice(start, start + size)), device)
        return model.sample(size, condition, ByNumber(config["seed"], start, size))

    return in_batches(of, config["n"], config), given, None


def completions(model: Any, config: dict[str, Any], node: Any, device: Any) -> tuple[Any, Condition, Any]:
    """Completed samples, their conditions, and the originals, in data units on the CPU."""
    if reason := why_not(model, Completes):
        raise UserError(f"this model cannot complete samples ({reason}); give a run of an autoregressive model")
    given = model.sites // 2 if config["given"] is None else config["given"]
    require_given(given, model.sites)
    x, conditions_of_x = to_complete(model, config, node)

    def of(start: int, size: int) -> Any:
        mine, condition = to(part((x, conditions_of_x), slice(start, start + size)), device)
        return model.complete(mine, given, condition, ByNumber(config["seed"], start, size))

    return in_batches(of, count(x), config), conditions_of_x, x


def translations(model: Any, config: dict[str, Any], node: Any, device: Any) -> tuple[Any, Condition, Any]:
    """Translated images, their domain as the label, and the originals, in data units on the CPU."""
    if reason := why_not(model, Translates):
        raise UserError(f"this model cannot translate ({reason}); give a run of a model such as cyclegan")
    x = originals(model, config, node)

    def of(start: int, size: int) -> Any:
        rng = ByNumber(config["seed"], start, size)
        return model.translate(x[start : start + size].to(device), config["source"], config["target"], rng)

    return in_batches(of, len(x), config), {"label": torch.full((len(x),), config["target"])}, x


def in_batches(of: Callable[[int, int], Any], n: int, config: dict[str, Any]) -> Any:
    """The results of `of(start, size)` for 0..n-1, computed in batches on all processes and gathered on the CPU."""
    rank, world = this_process()
    size = min(config["batch_size"], -(-n // world))
    starts = range(0, n, size)
    mine: list[Any] = []
    for start in tracked(starts[rank::world], "sampling", quiet=rank > 0):
        with seeded(config["seed"], start), torch.no_grad():  # for a model that also draws from the global generator
            mine.append(to(of(start, min(size, n - start)), torch.device("cpu")))
    if world == 1:
        return cat(mine)
    every: list[Any] = [None] * world
    dist.all_gather_object(every, mine)
    return cat([every[number % world][number // world] for number in range(len(starts))])
