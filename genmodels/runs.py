"""A run directory: its config, its checkpoints and results, and loading its model back without running its code."""

import json
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from genmodels.errors import UserError

RESULTS_VERSION = 1


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def save_config(run_dir: Path, config: dict) -> None:
    """Writes config.yaml: everything resolved, enough to run it again."""
    write_atomically(run_dir / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))


def require_run(run_dir: Path) -> Path:
    """The directory, if a run lies there; UserError if not."""
    if not (run_dir / "config.yaml").is_file():
        raise UserError(f"{run_dir} is no run directory: it has no config.yaml; give one that genmodels train wrote")
    return run_dir


def checkpoint_path(path: str | Path, which: str = "last") -> Path:
    """The checkpoint file that a path names: itself, or checkpoints/`which`.ckpt of a run directory."""
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if not path.exists():
        raise UserError(f"{path} does not exist; give a run directory or a checkpoint file")
    file = require_run(path) / "checkpoints" / f"{which}.ckpt"
    if not file.is_file():
        raise UserError(f"{path} has no checkpoint {file.name} yet; train it further, or name a file with checkpoint=")
    return file


def read_checkpoint(file: Path) -> dict[str, Any]:
    """A checkpoint's tensors and plain containers, on the CPU; a file with pickled objects is refused unread."""
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{file} is refused: it is damaged or holds pickled objects, which could run code; "
            "give a checkpoint that genmodels wrote"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{file} is no whole checkpoint ({_first_line(error)}); use an earlier one") from error
    if not isinstance(checkpoint, dict) or not {"config", "state_dict"} <= checkpoint.keys():
        raise UserError(f"{file} is a torch file but no checkpoint of genmodels: it has no config and state_dict")
    return checkpoint


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def load(path: str | Path, *, trusted: Sequence[str] = (), device: str = "cpu") -> nn.Module:
    """The model of a run directory or a .ckpt file: EMA weights where there are any, in eval mode.

    `trusted` names further packages whose classes the config may build; without it only this one's.
    """
    return model_of(read_checkpoint(checkpoint_path(path)), trusted=trusted).to(device)


def model_of(checkpoint: Mapping[str, Any], *, trusted: Sequence[str] = ()) -> nn.Module:
    """The model in a checkpoint that was read, with its EMA weights where there are any, in eval mode."""
    node = checkpoint["config"]["model"]
    require_trusted(node, trusted)
    model = instantiate(node, _convert_="all")
    state = checkpoint["state_dict"]
    prefix = {"ema": "ema.model.", "raw": "model."}[weights_of(checkpoint)]
    model.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    return model.eval().requires_grad_(False)


def require_trusted(node: Any, trusted: Sequence[str]) -> None:
    """UserError unless all that a part of a checkpoint's config would build are classes of trusted packages."""
    for target in _targets(node):
        _require_trusted_class(target, ("genmodels", *trusted))


def weights_of(checkpoint: Mapping[str, Any]) -> str:
    """Which weights `model_of` takes from a checkpoint: "ema" where there is an EMA, else "raw"."""
    return "ema" if any(key.startswith("ema.model.") for key in checkpoint["state_dict"]) else "raw"


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _targets(child)


def _require_trusted_class(target: str, trusted: Sequence[str]) -> None:
    """Refuses a target outside the trusted packages before importing it, and what is no class of theirs after."""
    if str(target).split(".")[0] in trusted:
        try:
            found = resolve_name(target)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"the checkpoint's config names {target}, which is no class of this version") from error
        if isinstance(found, type) and found.__module__.split(".")[0] in trusted:
            return
    raise UserError(
        f"the checkpoint's config names {target}, which is no class of {' or '.join(trusted)}; if you trust where it "
        "comes from, name its package in genmodels.load(..., trusted=[...])"
    )


def read_results(file: Path) -> list[dict]:
    """The records of a results.json; none where the file does not exist."""
    return json.loads(file.read_text())["results"] if file.is_file() else []


def add_results(file: Path, records: Sequence[dict]) -> None:
    """Adds records to results.json; a record of the same metric, split and protocol replaces the earlier one.

    The standard error stands in the protocol and is measured, so it tells no two records apart.
    """

    def key(record: Mapping[str, Any]) -> str:
        protocol = {name: value for name, value in record["protocol"].items() if name != "standard_error"}
        return json.dumps([record["metric"], record["split"], protocol], sort_keys=True)

    merged = {key(record): record for record in [*read_results(file), *records]}
    write_atomically(file, json.dumps({"version": RESULTS_VERSION, "results": list(merged.values())}, indent=2) + "\n")


def is_rank_zero() -> bool:
    """Whether this process is the one that writes, known before any process group exists."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))
