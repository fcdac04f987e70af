"""A run directory: its config, its checkpoints and results, and loading its model back without running its code.

An export (`genmodels export`) is read as the same: a folder of model.safetensors and config.yaml.
"""

import json
import os
import pickle
import sys
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from filelock import FileLock
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from genmodels import exports
from genmodels.disk.archives import require_size
from genmodels.disk.atomic import replacing
from genmodels.disk.strict_json import NOT_FINITE, dumps
from genmodels.errors import UserError
from genmodels.trust import OURS, TRAINING, read_config, refused, require_plain, require_trusted

RESULTS_VERSION = 1
WRITTEN_BY = "genmodels"  # key of a saved config: the version that wrote it
FIRST_TO_SAY = "0.1"  # the version whose configs do not say
PREFIX = {"ema": "ema.model.", "raw": "model."}  # of a model's weights in the state_dict of its training


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def stamped(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config that says which version wrote it, as every one that is saved does."""
    return {WRITTEN_BY: version("genmodels"), **{key: value for key, value in config.items() if key != WRITTEN_BY}}


def require_this_version(config: Mapping[str, Any], what: Path) -> None:
    """UserError where `what` was written by a version whose models this one does not build: 0.1 beside 0.2."""
    wrote, here = (_minor(str(each)) for each in (config.get(WRITTEN_BY, FIRST_TO_SAY), version("genmodels")))
    if wrote != here:
        raise UserError(
            f"{what} was written by genmodels {wrote} and this is genmodels {here}; use that version "
            f"(pip install 'genmodels=={wrote}.*'), or train the model anew"
        )


def _minor(of: str) -> str:
    return ".".join(of.split(".")[:2])


def save_config(run_dir: Path, config: Mapping[str, Any]) -> None:
    """Writes config.yaml: everything resolved, enough to run it again, and which version wrote it."""
    write_atomically(run_dir / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(stamped(config))))


def require_run(run_dir: Path) -> Path:
    """The directory, if a run lies there; UserError if not."""
    if run_dir.is_file():
        raise UserError(f"{run_dir} is a file, expected a run directory; give the one that it lies in")
    if not (run_dir / "config.yaml").is_file():
        raise UserError(f"{run_dir} is no run directory: it has no config.yaml; give one that genmodels train wrote")
    return run_dir


def config_to_resume(run_dir: Path, trusted: Sequence[str]) -> dict[str, Any]:
    """The config of a run directory, which may come from elsewhere: it builds nothing but what is trusted."""
    file = require_run(run_dir) / "config.yaml"
    config = read_config(file)
    if "exported" in config:
        raise UserError(f"{run_dir} is an export, which has no optimizer to go on with; resume the run that it is of")
    if hydras := sorted({"hydra", "defaults"} & config.keys()):
        raise refused(file, f"has the key {hydras[0]}, which tells Hydra what to do")
    if missing := sorted({"run_dir", "trainer", "model", "data"} - config.keys()):
        raise refused(file, f"has no {missing[0]}")
    require_this_version(config, run_dir)
    require_trusted(config, (*OURS, *TRAINING, *trusted))
    return {key: value for key, value in config.items() if key != WRITTEN_BY}


def checkpoint_path(path: str | Path, which: str = "last") -> Path:
    """The file that a path names: itself, checkpoints/`which`.ckpt of a run directory, or the weights of an export."""
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
    """A checkpoint's tensors and plain containers, on the CPU; a file with pickled objects is refused unread."""
    checkpoint = _read_export(file.parent) if file.name == exports.WEIGHTS else _read_torch(file)
    config = checkpoint["config"]
    require_plain(config, file)
    if not isinstance(config.get("model"), dict) or "_target_" not in config["model"]:
        raise refused(file, "has no model in its config")
    require_this_version(config, file)
    return checkpoint


def _read_export(folder: Path) -> dict[str, Any]:
    config, weights = exports.read(folder)
    prefix = PREFIX[config["exported"]["weights"]]
    about = {"global_step": config["exported"]["step"], "images_seen": config["exported"]["images_seen"]}
    config[WRITTEN_BY] = config["exported"].get("genmodels", FIRST_TO_SAY)
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
        raise UserError(f"{file} is no whole checkpoint ({_first_line(error)}); use an earlier one") from error
    if not isinstance(checkpoint, dict) or not {"config", "state_dict", "global_step"} <= checkpoint.keys():
        raise UserError(f"{file} is a torch file but no checkpoint of genmodels: it has no config and state_dict")
    return checkpoint


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def load(
    path: str | Path,
    *,
    which: str = "last",  # checkpoint of a run directory: last, or best
    weights: str | None = None,  # ema, or raw; None: ema where there are any
    trusted: Sequence[str] = (),  # further packages than this one whose classes the config may build
    device: str = "cpu",
) -> nn.Module:
    """The model of a run directory, a .ckpt file or an export, in eval mode.

    Raises:
        UserError: there is no such checkpoint, it has no such weights, or it names classes that are not trusted.
    """
    for name, given, known in (("which", which, ("last", "best")), ("weights", weights, (None, *PREFIX))):
        if given not in known:
            raise UserError(f"{name} is {given!r}, expected {' or '.join(repr(one) for one in known)}")
    return model_of(read_checkpoint(checkpoint_path(path, which)), trusted=trusted, weights=weights).to(device)


def model_of(checkpoint: Mapping[str, Any], *, trusted: Sequence[str] = (), weights: str | None = None) -> nn.Module:
    """The model in a checkpoint that was read, in eval mode, with its EMA weights where there are any, or `weights`."""
    node = checkpoint["config"]["model"]
    require_trusted(node, (*OURS, *trusted))
    state = state_of(checkpoint, weights or weights_of(checkpoint))
    if not state:
        raise UserError(f"there are no {weights} weights in the checkpoint; leave weights= out to take those there are")
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
    """The model's state with these weights, "ema" or "raw"; what is not averaged is in both as it is in the raw model.
    Empty where there are none."""
    raw, own = (
        {k.removeprefix(p): w for k, w in checkpoint["state_dict"].items() if k.startswith(p)}
        for p in (PREFIX["raw"], PREFIX[weights])
    )
    return raw | own if own else {}


def weights_of(checkpoint: Mapping[str, Any]) -> str:
    """Which weights `model_of` takes from a checkpoint: "ema" where there is an EMA, else "raw"."""
    return "ema" if any(key.startswith(PREFIX["ema"]) for key in checkpoint["state_dict"]) else "raw"


def read_results(file: Path) -> list[dict]:
    """The records of a results.json; none where the file does not exist. Older ones have no `mode`.

    What is not finite is one of the texts nan, inf and -inf, as in the file; `Record.from_dict` makes numbers of them.

    Raises:
        UserError: the file is damaged or of another version; it stays as it is.
    """
    if not file.is_file():
        return []
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _no_results(file, f"is damaged ({_first_line(error)})") from error
    version = found.get("version") if isinstance(found, dict) else None
    if version != RESULTS_VERSION:
        about = "has no version" if version is None else f"is of version {version}"
        raise _no_results(file, f"{about}, expected version {RESULTS_VERSION}")
    records = found.get("results")
    if not isinstance(records, list) or not all(_is_record(record) for record in records):
        raise _no_results(file, "holds something else than records of metric, split, value, std, protocol and mode")
    return records


def _is_record(found: Any) -> bool:
    """Whether a part of a file is a result as `Record.to_dict` gives it, or as it did before it gave `mode`."""
    parts = {"metric", "split", "value", "std", "protocol"}
    if not isinstance(found, dict) or found.keys() - {"mode"} != parts or found.get("mode") not in ("min", "max", None):
        return False
    texts = isinstance(found["metric"], str) and isinstance(found["split"], str)
    numbers = _is_number(found["value"]) and (found["std"] is None or _is_number(found["std"]))
    return texts and numbers and isinstance(found["protocol"], dict)


def _is_number(found: Any) -> bool:
    """Whether a part of a file is a number that a float can hold, or the text of one that is not finite."""
    if isinstance(found, str):
        return found in NOT_FINITE
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return isinstance(found, float) or abs(found) <= sys.float_info.max


def _no_results(file: Path, why: str) -> UserError:
    return UserError(
        f"{file} {why}; move it away and evaluate the run again: genmodels evaluate run={quote(str(file.parent))}"
    )


def add_results(file: Path, records: Sequence[dict]) -> None:
    """Adds records to results.json; a record of the same metric, split and protocol replaces the earlier one.

    The standard error stands in the protocol and is measured, so it tells no two records apart. A file that
    `read_results` refuses is left as it is. Processes that add to the same file at once wait for each other.
    """

    def key(record: Mapping[str, Any]) -> str:
        protocol = {name: value for name, value in record["protocol"].items() if name != "standard_error"}
        return dumps([record["metric"], record["split"], protocol], sort_keys=True)

    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        merged = {key(record): record for record in [*read_results(file), *records]}
        found = {"version": RESULTS_VERSION, "results": list(merged.values())}
        write_atomically(file, dumps(found, indent=2) + "\n")


def is_rank_zero() -> bool:
    """Whether this process is the one that writes, known before any process group exists."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))
