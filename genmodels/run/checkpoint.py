"""Finds and reads checkpoints, and builds their models without running code from the file.

An export (`genmodels export`) is read in the same way: a folder of model.safetensors and config.yaml.
"""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn

from genmodels.disk.archives import require_size
from genmodels.errors import UserError
from genmodels.run import export as exports
from genmodels.run.config import FIRST_VERSION, WRITTEN_BY, require_run, require_this_version
from genmodels.run.trust import OWN_PACKAGES, refused, require_plain, require_trusted

PREFIX = {"ema": "ema.model.", "raw": "model."}  # of the model's weights in a checkpoint's state_dict


def load(
    path: str | PathLike[str],
    *,
    which: str = "last",  # checkpoint of a run directory: last, or best
    weights: str | None = None,  # ema or raw; None: ema where the checkpoint has an EMA
    trusted: Sequence[str] = (),  # further packages whose classes the config may build
    device: str = "cpu",
) -> nn.Module:
    """The model of a run directory, a .ckpt file or an export, in eval mode.

    Raises:
        UserError: the checkpoint does not exist, lacks these weights, or names classes that are not trusted.
    """
    for name, given, known in (("which", which, ("last", "best")), ("weights", weights, (None, *PREFIX))):
        if given not in known:
            raise UserError(f"{name} is {given!r}, expected {' or '.join(repr(one) for one in known)}")
    return model_of(read_checkpoint(checkpoint_path(path, which)), trusted=trusted, weights=weights).to(device)


def model_of(checkpoint: Mapping[str, Any], *, trusted: Sequence[str] = (), weights: str | None = None) -> nn.Module:
    """The model of a checkpoint, in eval mode, with these weights; None: EMA weights where it has them, else raw."""
    node = checkpoint["config"]["model"]
    require_trusted(node, (*OWN_PACKAGES, *trusted))
    state = state_of(checkpoint, weights or weights_of(checkpoint))
    if not state:
        raise UserError(f"the checkpoint has no {weights} weights; leave out weights= to take those that it has")
    try:
        model = instantiate(node, _convert_="all")
        model.load_state_dict(state)
    except (InstantiationException, AttributeError, RuntimeError, TypeError) as error:
        raise UserError(
            f"the checkpoint's model cannot be built by this version ({_first_line(error)}); "
            "load it with the version of genmodels, or of your package, that wrote it"
        ) from error
    return model.eval().requires_grad_(False)


def state_of(checkpoint: Mapping[str, Any], weights: str) -> dict[str, torch.Tensor]:
    """The model's state with these weights, "ema" or "raw"; {} where the checkpoint has none.

    Tensors that are not averaged come from the raw model in both.
    """
    raw, own = (
        {k.removeprefix(p): w for k, w in checkpoint["state_dict"].items() if k.startswith(p)}
        for p in (PREFIX["raw"], PREFIX[weights])
    )
    return raw | own if own else {}


def weights_of(checkpoint: Mapping[str, Any]) -> str:
    """Which weights `model_of` takes from a checkpoint: "ema" where there is an EMA, else "raw"."""
    return "ema" if any(key.startswith(PREFIX["ema"]) for key in checkpoint["state_dict"]) else "raw"


def weights_in_protocol(checkpoint: Mapping[str, Any]) -> str:
    """The same as a protocol states it, with the width of an average that was reconstructed from snapshots."""
    relative_std = checkpoint["config"].get("exported", {}).get("relative_std")
    return weights_of(checkpoint) + ("" if relative_std is None else f" of relative std {relative_std:g}")


def checkpoint_path(path: str | PathLike[str], which: str = "last") -> Path:
    """The checkpoint file of a path: a file itself, checkpoints/`which`.ckpt of a run, or the weights of an export."""
    path = Path(path).expanduser()
    if path.is_file():
        return path
    if not path.exists():
        raise UserError(f"{path} does not exist; give a run directory or a checkpoint file")
    if (path / exports.WEIGHTS).is_file():
        return path / exports.WEIGHTS
    file = require_run(path) / "checkpoints" / f"{which}.ckpt"
    if not file.is_file():
        raise UserError(f"{path} has no checkpoint {file.name} yet; train it further, or name a file with checkpoint=")
    return file


def read_checkpoint(file: Path) -> dict[str, Any]:
    """A checkpoint's tensors and plain containers, on the CPU; a file with pickled objects is refused."""
    checkpoint = _read_export(file.parent) if file.name == exports.WEIGHTS else _read_torch(file)
    config = checkpoint["config"]
    require_plain(config, file)
    if not isinstance(config.get("model"), dict) or "_target_" not in config["model"]:
        raise refused(file, "has no model in its config")
    require_this_version(config, file)
    return checkpoint


def _read_export(folder: Path) -> dict[str, Any]:
    config, weights = exports.read_export(folder)
    prefix = PREFIX[config["exported"]["weights"]]
    about = {"global_step": config["exported"]["step"], "images_seen": config["exported"]["images_seen"]}
    config[WRITTEN_BY] = config["exported"].get("genmodels", FIRST_VERSION)
    return {"config": config, "state_dict": {prefix + name: w for name, w in weights.items()}, **about}


def _read_torch(file: Path) -> dict[str, Any]:
    try:
        require_size(file, most=1)
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{file} is refused: it is damaged or holds pickled objects, which could run code; "
            "give a checkpoint that genmodels wrote"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is damaged or incomplete ({_first_line(error)}); use an earlier checkpoint") from error
    if not isinstance(checkpoint, dict) or not {"config", "state_dict", "global_step"} <= checkpoint.keys():
        raise UserError(
            f"{file} is a torch file but not a checkpoint of genmodels: it lacks config, state_dict or global_step"
        )
    return checkpoint


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
