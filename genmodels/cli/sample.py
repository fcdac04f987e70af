"""genmodels sample: draws samples from a run's model into a picture, an .npz or a folder."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from genmodels.cli.app import run_app
from genmodels.cli.config.compose import resolved
from genmodels.errors import UserError


def run(argv: list[str]) -> int:
    return run_app("sample", argv, task)


def task(cfg: DictConfig) -> None:
    """One call of the command, from its composed config."""
    from genmodels.cli.config.check import check
    from genmodels.cli.config.origin import origin
    from genmodels.cli.config.schema import Sample

    config = resolved(cfg)
    check(config, Sample, origin)
    sample(config)


def sample(config: dict[str, Any]) -> None:
    """Draws `n` samples as a checked, resolved config says and writes them to `out`."""
    from genmodels import runs
    from genmodels.cli.evaluate import named_checkpoint, with_sampler
    from genmodels.cli.many.group import device_named
    from genmodels.cli.tables import console

    checkpoint = runs.read_checkpoint(named_checkpoint(config))
    model = with_sampler(runs.model_of(checkpoint, trusted=config["trusted"]), config["sampler"]).to(
        device_named(config["device"])
    )
    x = draw(model, config)
    out = Path(config["out"]).expanduser()
    write(x, checkpoint["config"]["data"]["levels"], out, model)
    console.print(f"{len(x)} samples: {out}", soft_wrap=True, highlight=False)


def draw(model: Any, config: dict[str, Any]) -> Any:
    """`n` samples in data units on the CPU, each a function of (seed, its number), whatever the batch size."""
    import torch
    from rich.progress import track

    from genmodels.seeds import ByNumber, seeded

    n, batch_size = config["n"], config["batch_size"]
    starts = range(0, n, batch_size)
    y = labels(model, config["label"], batch_size)
    batches = []
    for start in track(starts, "sampling", transient=True, disable=len(starts) == 1):
        size = min(batch_size, n - start)
        with seeded(config["seed"], start):  # for a model that draws from elsewhere than its rng
            x = model.sample(size, None if y is None else y[:size], ByNumber(config["seed"], start, size))
        batches.append(x.cpu())
    return torch.cat(batches)


def labels(model: Any, label: int | None, n: int) -> Any:
    """`n` times the label that is asked for; None where none is."""
    import torch

    if label is None:
        return None
    if model.classes is None:
        raise UserError(f"label={label} is for a conditional model, and this one is unconditional; leave it out")
    if not 0 <= label < model.classes:
        raise UserError(f"label is {label}, expected 0..{model.classes - 1}")
    return torch.full((n,), label)


def write(x: Any, levels: int | None, out: Path, model: Any) -> None:
    """Writes samples as a picture (.png), as arrays in data units (.npz), or as PNG files in a folder."""
    import numpy as np

    from genmodels.pictures import grid, save, single
    from genmodels.point_pictures import exact_density, is_plane, panels

    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        temporary = out.with_suffix(".tmp.npz")
        stored = {"x": x.numpy()} if levels is None else {"images": x.numpy(), "levels": np.array(levels)}
        np.savez_compressed(temporary, **stored)
        temporary.replace(out)
    elif is_plane(x.shape[1:], levels) and out.suffix == ".png":
        save(panels({"samples": x}, exact_density(model), next(model.parameters()).device), out)
    elif levels is None:
        raise UserError(
            f"out={out} would be pictures, and this model's samples are points of {x[0].numel()} numbers; use "
            "out=FILE.npz, or FILE.png for points in the plane"
        )
    elif out.suffix == ".png":
        save(grid(x, levels), out)
    elif out.suffix:
        raise UserError(f"out={out} has an unknown ending; use .png for a grid, .npz for arrays, none for a folder")
    else:
        if out.is_dir() and any(out.iterdir()):
            raise UserError(f"the folder {out} is not empty; choose another, so that no sample is overwritten")
        for index, image in enumerate(x):
            save(single(image, levels), out / f"{index:06}.png")
