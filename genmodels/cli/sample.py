"""genmodels sample: draws samples from a run's model, or translates images by it, into a picture, a text or arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from genmodels.cli.app import run_app
from genmodels.cli.config.compose import resolved
from genmodels.errors import UserError

OF_TASK = {"sample": ("label", "condition"), "translate": ("source", "target", "images")}  # keys of one task only
READ = 3  # samples that can be read are printed, so many


def run(argv: list[str]) -> int:
    return run_app("sample", argv, task)


def task(cfg: DictConfig) -> None:
    """One call of the command, from its composed config."""
    from genmodels.cli.config.check import check
    from genmodels.cli.config.origin import origin
    from genmodels.cli.config.schema import Sample
    from genmodels.cli.evaluate import named_checkpoint
    from genmodels.cli.many.spawn import run_on

    config = resolved(cfg)
    check(config, Sample, origin)
    refuse_keys_of_another_task(config)
    named_checkpoint(config)
    run_on(config["devices"], sample, config)


def refuse_keys_of_another_task(config: dict[str, Any]) -> None:
    for name, keys in OF_TASK.items():
        given = [key for key in keys if config[key] is not None]
        if name != config["task"] and given:
            raise UserError(f"{given[0]}= is for task={name}, and task is {config['task']}; leave one of the two out")


def sample(config: dict[str, Any]) -> None:
    """The part of this process in drawing or translating as a checked, resolved config says; the first one writes."""
    from genmodels.capabilities import Prepares, can
    from genmodels.cli.config.foreign import believed, say_left_out
    from genmodels.cli.evaluate import named_checkpoint, with_sampler
    from genmodels.cli.many.group import device_named, process_group
    from genmodels.cli.tables import console
    from genmodels.data.of_config import data_of, fields_of
    from genmodels.evaluators.precision import autocast
    from genmodels.kinds import kind_of
    from genmodels.rank import is_rank_zero
    from genmodels.run.checkpoint import model_of, read_checkpoint
    from genmodels.training.hooks import prepare
    from genmodels.trees import count, first

    file = named_checkpoint(config)
    checkpoint = read_checkpoint(file)
    device = device_named(config["device"])
    model = with_sampler(model_of(checkpoint, trusted=config["trusted"]), config["sampler"]).to(device)
    node, left = believed("data", checkpoint["config"].get("data"))
    say_left_out(left, file)
    kind = kind_of(fields_of(node, config["trusted"]))
    out = Path(config["out"] or kind.file).expanduser()
    kind.require_way(out, model)
    if can(model, Prepares):
        prepare(model, data_of(node, config["trusted"]), device)
    make = {"sample": draw, "translate": translate}[config["task"]]
    with process_group(device), autocast(config["precision"], device):
        x, originals = make(model, config, node, device)
    if not is_rank_zero():
        return
    save(kind, x, originals, out, model)
    if text := kind.text(first(x, READ)):
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    console.print(f"{count(x)} samples: {out}", soft_wrap=True, highlight=False)


def save(kind: Any, x: Any, originals: Any, out: Path, model: Any) -> None:
    """Writes samples; a picture of translations has the originals above them."""
    from genmodels.kinds.base import Shown, SideBySide
    from genmodels.pictures import save as save_picture

    if originals is None or out.suffix != ".png" or not isinstance(kind, SideBySide):
        kind.save(x, out, model)
    else:
        save_picture(kind.stacked([Shown(originals, kind.of), Shown(x, kind.of)]), out)


def draw(model: Any, config: dict[str, Any], node: Any, device: Any) -> tuple[Any, None]:
    """`n` samples in data units on the CPU, each a function of (seed, its number), whatever the batch size."""
    from genmodels.capabilities import Samples, why_not
    from genmodels.cli.asked import conditions
    from genmodels.seeds import ByNumber
    from genmodels.trees import part, to

    if reason := why_not(model, Samples):
        raise UserError(f"this model draws no samples ({reason}); give another run, or another task=")
    given = conditions(model, config, node)

    def of(start: int, size: int) -> Any:
        condition = to(part(given, slice(start, start + size)), device)
        return model.sample(size, condition, ByNumber(config["seed"], start, size))

    return in_batches(of, config["n"], config), None


def translate(model: Any, config: dict[str, Any], node: Any, device: Any) -> tuple[Any, Any]:
    """Images in the target's domain, and what they were in the source's, in data units on the CPU."""
    from genmodels.capabilities import Translates, why_not
    from genmodels.cli.asked import originals
    from genmodels.seeds import ByNumber

    if reason := why_not(model, Translates):
        raise UserError(f"this model cannot translate ({reason}); give a run of a model such as cyclegan")
    x = originals(model, config, node)

    def of(start: int, size: int) -> Any:
        rng = ByNumber(config["seed"], start, size)
        return model.translate(x[start : start + size].to(device), config["source"], config["target"], rng)

    return in_batches(of, len(x), config), x


def in_batches(of: Callable[[int, int], Any], n: int, config: dict[str, Any]) -> Any:
    """What `of(start, size)` gives for 0..n-1, on the CPU, whichever of the processes made it."""
    import torch
    import torch.distributed as dist

    from genmodels.cli.many.together import together
    from genmodels.progress import tracked
    from genmodels.seeds import seeded
    from genmodels.trees import cat, to

    rank, world = together()
    size = min(config["batch_size"], -(-n // world))
    starts = range(0, n, size)
    mine: list[Any] = []
    for start in tracked(starts[rank::world], "sampling", quiet=len(starts) == 1 or rank > 0):
        with seeded(config["seed"], start), torch.no_grad():  # for a model that draws from elsewhere than its rng
            mine.append(to(of(start, min(size, n - start)), torch.device("cpu")))
    if world == 1:
        return cat(mine)
    every: list[Any] = [None] * world
    dist.all_gather_object(every, mine)
    return cat([every[number % world][number // world] for number in range(len(starts))])
