"""Draws samples from a run's model, or translates images by it, into a picture, a text or arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from genmodels.capabilities import Condition, Prepares, Samples, Translates, can, why_not
from genmodels.config.foreign import believed, say_left_out
from genmodels.console import console
from genmodels.engine.conditions import conditions
from genmodels.engine.originals import originals
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
from genmodels.training.hooks import prepare
from genmodels.trees import cat, count, first, part, to

READ = 3  # samples that can be read are printed, so many


class Drawn(NamedTuple):
    """What was drawn, in data units on the CPU."""

    x: Any
    condition: Condition  # what each was conditioned on
    originals: Any  # what translations were made from; None of samples
    kind: Kind  # how it can be shown and saved
    model: Any


def sample(config: dict[str, Any]) -> None:
    """Draws or translates as a checked, resolved config says and writes it into `out`; of several processes this is
    the part of one, and the first one writes."""
    drawn = draw(config)
    if not is_rank_zero():
        return
    out = path_of(config["out"], drawn.kind)
    write(drawn, out)
    if text := drawn.kind.text(first(drawn.x, READ)):
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    console.print(f"{count(drawn.x)} samples: {out}", soft_wrap=True, highlight=False)


def path_of(out: str | None, kind: Kind) -> Path:
    """Where samples are written: where a person says, else a file in this folder."""
    return Path(out or kind.file).expanduser()


def draw(config: dict[str, Any]) -> Drawn:
    """Draws or translates; UserError before that, where `out` could not be written."""
    file = named_checkpoint(config)
    checkpoint = read_checkpoint(file)
    device = device_named(config["device"])
    model = with_sampler(model_of(checkpoint, trusted=config["trusted"]), config["sampler"]).to(device)
    node, left = believed("data", checkpoint["config"].get("data"))
    say_left_out(left, file)
    kind = kind_of(fields_of(node, config["trusted"]))
    kind.require_format(path_of(config["out"], kind), model)
    if can(model, Prepares):
        prepare(model, data_of(node, config["trusted"]), device)
    make = {"sample": samples, "translate": translations}[config["task"]]
    with process_group(device), autocast(config["precision"], device):
        return Drawn(*make(model, config, node, device), kind, model)


def write(drawn: Drawn, out: Path) -> None:
    """Writes samples; a picture of translations has the originals above them."""
    kind, x = drawn.kind, drawn.x
    if drawn.originals is None or out.suffix != ".png" or not isinstance(kind, SideBySide):
        kind.save(x, out, drawn.model, drawn.condition)
    else:
        rows = {"original": drawn.originals, "translation": x}
        save_picture(kind.stacked([NamedSamples(name, values, kind.of) for name, values in rows.items()]), out)


def samples(model: Any, config: dict[str, Any], node: Any, device: Any) -> tuple[Any, Condition, None]:
    """`n` samples in data units on the CPU, each a function of (seed, its number), whatever the batch size, and their
    conditions."""
    if reason := why_not(model, Samples):
        raise UserError(f"this model draws no samples ({reason}); give another run, or another task=")
    given = conditions(model, config, node)

    def of(start: int, size: int) -> Any:
        condition = to(part(given, slice(start, start + size)), device)
        return model.sample(size, condition, ByNumber(config["seed"], start, size))

    return in_batches(of, config["n"], config), given, None


def translations(model: Any, config: dict[str, Any], node: Any, device: Any) -> tuple[Any, Condition, Any]:
    """Images in the target's domain, its number, and what they were in the source's, in data units on the CPU."""
    if reason := why_not(model, Translates):
        raise UserError(f"this model cannot translate ({reason}); give a run of a model such as cyclegan")
    x = originals(model, config, node)

    def of(start: int, size: int) -> Any:
        rng = ByNumber(config["seed"], start, size)
        return model.translate(x[start : start + size].to(device), config["source"], config["target"], rng)

    return in_batches(of, len(x), config), {"label": torch.full((len(x),), config["target"])}, x


def in_batches(of: Callable[[int, int], Any], n: int, config: dict[str, Any]) -> Any:
    """What `of(start, size)` gives for 0..n-1, on the CPU, whichever of the processes made it."""

    rank, world = this_process()
    size = min(config["batch_size"], -(-n // world))
    starts = range(0, n, size)
    mine: list[Any] = []
    for start in tracked(starts[rank::world], "sampling", quiet=rank > 0):
        with seeded(config["seed"], start), torch.no_grad():  # for a model that draws from elsewhere than its rng
            mine.append(to(of(start, min(size, n - start)), torch.device("cpu")))
    if world == 1:
        return cat(mine)
    every: list[Any] = [None] * world
    dist.all_gather_object(every, mine)
    return cat([every[number % world][number // world] for number in range(len(starts))])
