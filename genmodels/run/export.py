"""An export: a model's weights as model.safetensors and its config as config.yaml, without what only training needs."""

import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from genmodels.errors import UserError
from genmodels.run.trust import read_config, refused

WEIGHTS, CONFIG = "model.safetensors", "config.yaml"
KEPT = ("name", "seed", "model", "data", "evaluator", "features")  # of a config: to sample and measure
HEAD = (
    "# A model that genmodels export wrote; its weights are in model.safetensors, genmodels.load(FOLDER) reads both.\n"
)


def require_free(folder: Path) -> None:
    """UserError where the folder of a new export is not empty, or is a file."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"out={folder} is not an empty folder; choose another, so that nothing is overwritten")


def write_export(folder: Path, model: nn.Module, config: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Writes an export completely or not at all; shared weights are written once for each of their names.

    `about` states which weights these are, and after how many steps and images.
    """
    exported = {"exported": {"genmodels": version("genmodels"), **about}}
    kept = {key: config[key] for key in KEPT if key in config}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        whole = Path(temporary, "export")
        whole.mkdir()
        weights = {name: w.clone().contiguous() for name, w in model.state_dict().items()}
        (whole / WEIGHTS).write_bytes(save(weights))  # `save_file` would make it readable by its owner only
        (whole / CONFIG).write_text(HEAD + OmegaConf.to_yaml(OmegaConf.create(exported | kept)))
        whole.replace(folder)


def read_export(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and weights of an export. UserError where it is incomplete, or was not written by `write`."""
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} has {WEIGHTS} and no {CONFIG}; give the whole folder that genmodels export wrote")
    config = read_config(folder / CONFIG)
    about = config.get("exported")
    if not isinstance(about, dict) or about.get("weights") not in ("ema", "raw") or type(about.get("step")) is not int:
        raise refused(folder / CONFIG, "does not say which weights are beside it, and after how many steps")
    try:
        return config, load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{folder / WEIGHTS} is damaged or incomplete ({error}); export the run again") from error
