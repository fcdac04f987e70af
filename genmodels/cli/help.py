"""`--help` of the commands with a Hydra config: usage, the groups, and every key with its value and meaning.

`genmodels train --help model.network` shows only the keys of that part, in the config that the command line gives.
"""

from pathlib import Path
from string import Template
from typing import cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from genmodels.config.explained import Key, keys, schema_of
from genmodels.config.messages import suggestion
from genmodels.errors import UserError

HELP_FLAGS = ("-h", "--help")


def keys_to_explain(argv: list[str]) -> list[str] | None:
    """The keys to explain, [] for all; None without `--help`."""
    return [word for word in argv if "=" not in word and word[0] not in "-~"] if {*HELP_FLAGS} & {*argv} else None


def show_help(cfg: DictConfig, about: list[str], name: str) -> None:
    """Prints the help of the command whose config is configs/`name`.yaml, or explains the keys in `about`."""
    every = list(keys(cast(dict, OmegaConf.to_container(cfg, resolve=False)), schema_of(name)))
    if about:
        print("\n".join(str(key) for name in about for key in _below(name, every)))
        return
    template = Template(HydraConfig.get().help.template)
    print(template.safe_substitute(APP_CONFIG_GROUPS="\n".join(_groups()), CONFIG="\n".join(map(str, every))).rstrip())


def _below(name: str, every: list[Key]) -> list[Key]:
    found = [key for key in every if key.name == name or key.name.startswith(f"{name}.")]
    if not found:
        raise UserError(f"there is no key {name}; {suggestion(name, [key.name for key in every])}")
    return found


def _groups() -> list[str]:
    """A line for each group with its options: ours, and those in the user's own config directories."""
    sources = HydraConfig.get().runtime.config_sources
    folders = [Path(source.path) for source in sources if source.schema == "file"]
    files = {file.relative_to(folder) for folder in folders for file in folder.rglob("*.yaml")}
    options: dict[str, list[str]] = {}
    for file in sorted(file for file in files if file.parts[0] != "hydra" and len(file.parts) > 1):
        options.setdefault(file.parent.as_posix(), []).append(file.stem)
    return [f"{group}: {', '.join(names)}" for group, names in sorted(options.items())]
