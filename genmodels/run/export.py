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
    """UserError where the folder of a new export holds something, or is a file."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"out={folder} is no empty folder; choose another, so that nothing is overwritten")


def write(folder: Path, model: nn.Module, config: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Writes an export whole or not at all; weights that modules share are written once for each of their names.

    `about` says which weights these are, and after how many steps and images.
    """
    exported = {"exported": {"genmodels": version("genmodels"), **about}}
    kept = {key: config[key] for key in KEPT if key in config}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        whole = Path(temporary, "export")
        whole.mkdir()
        weights = {name: w.clone().contiguous() for name, w in model.state_dict().items()}
        (whole / WEIGHTS).write_bytes(save(weights))  # save_file's would be its owner's alone
        (whole / CONFIG).write_text(HEAD + OmegaConf.to_yaml(OmegaConf.create(exported | kept)))
        whole.replace(folder)


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and weights of an export. Raises UserError where it is not whole, or not as `write` left it."""
    if not (folder / CONFIG).is_file():
        raise UserError(f"{folder} has {WEIGHTS} and no {CONFIG}; give the whole folder that genmodels export wrote")
    config = read_config(folder / CONFIG)
    about = config.get("exported")
    if not isinstance(about, dict) or about.get("weights") not in ("ema", "raw") or type(about.get("step")) is not int:
        raise refused(folder / CONFIG, "does not say which weights are beside it, after how many steps")
    try:
        return config, load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{folder / WEIGHTS} is no whole file of weights ({error}); export the run anew") from error
