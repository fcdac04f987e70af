"""The config of a resumed run: its own, with what the command line may change; other changes are refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import ListConfig, OmegaConf

from genmodels.config.foreign import GROUPS, print_left_out, without_foreign_paths
from genmodels.config.paths import path_given
from genmodels.config.roles import Role, role
from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError
from genmodels.run.config import config_to_resume

OF_MACHINE = (Role.MACHINE, Role.COMPUTES)
FIXED = (Role.TRAINS, Role.REPEATS, Role.NAMES)
QUIET = [{f"override hydra/{which}_logging": "none"} for which in ("job", "hydra")]
PARTS, SETS = ("features", "sampler"), ("evaluator", "callbacks", "logger")  # groups: one option, or several


def find_resumed_config(argv: list[str]) -> Path | None:
    """The config of the run that `resume=RUN_DIR` names; None without `resume=`."""
    resume = next((word.partition("=")[2] for word in reversed(argv) if word.lstrip("+").startswith("resume=")), "null")
    if resume == "null":
        return None
    if not resume:
        raise UserError("resume= names no run; give resume=RUN_DIR")
    run_dir = Path(path_given("resume", resume))
    return resumed_config(argv, run_dir, config_to_resume(run_dir, _trusted(argv)))


def _trusted(argv: list[str]) -> list[str]:
    """The packages that the command line names as trusted=[...]; those in the run's own config do not count."""
    given = OmegaConf.from_dotlist(["trusted=[]", *(word for word in argv if word.startswith("trusted="))])["trusted"]
    if not isinstance(given, ListConfig):
        raise UserError(f"trusted is {given!r}, expected a list of packages: trusted=[{given}]")
    return [str(package) for package in given]


def resumed_config(argv: list[str], run_dir: Path, config: Mapping[str, Any]) -> Path:
    """A primary config for Hydra: the run's own, except for groups that the command line names.

    An option of `trainer` changes only the machine and precision; number and kind of steps stay those of the run.
    """
    for word in argv:
        key = word.lstrip("+~").split("=")[0].split("@")[0]
        if is_fixed(key.replace("/", ".")):
            raise refusal(word, run_dir)
    if {"-m", "--multirun"} & set(argv):
        raise UserError("resume= continues one run, and -m starts several; resume them one after the other")
    named = {word.partition("=")[0] for word in argv}
    node = {**_believed(config, run_dir), "resume": None, "trusted": []}
    node |= {group: None for group in PARTS if group in named} | {group: {} for group in SETS if group in named}
    if "trainer" in named:
        node["trainer"] = {
            key: value
            for key, value in node["trainer"].items()
            if role(f"trainer.{key}") not in (Role.MACHINE, Role.COMPUTES)
        }
    options = [{group: None} for group in (*PARTS, *SETS)]
    node["defaults"] = [{"trainer": None}, "_self_", *options, *QUIET]
    node["hydra"] = {"output_subdir": None, "run": {"dir": str(run_dir)}, "job": {"name": "train"}}
    ConfigStore.instance().store(name="resumed", node=node)
    return CONFIGS / "resumed"


def _believed(config: Mapping[str, Any], run_dir: Path) -> dict[str, Any]:
    """A run's config with the paths of its present directory, and without foreign paths if somebody else made it."""
    node, left = moved(dict(config), run_dir), []
    for group in GROUPS & node.keys():
        node[group], out = without_foreign_paths(group, node[group], inside=run_dir, noted=config[group])
        left += out
    print_left_out(left, run_dir)
    return node


def moved(config: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """A run's config with the paths within the run directory changed to where the directory is now."""
    before, now = config["run_dir"], str(run_dir.resolve())

    def there(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: there(value) for key, value in node.items()}
        if isinstance(node, list):
            return [there(value) for value in node]
        inside = isinstance(node, str) and (node == before or node.startswith(f"{before}/"))
        return now + node[len(before) :] if inside else node

    return there(config)


def is_fixed(key: str) -> bool:
    """Whether a resumed run must keep the value of a key."""
    return role(key) in FIXED


def refusal(what: str, run_dir: Path) -> UserError:
    return UserError(
        f"{what} would change what {run_dir} was trained with; a resume accepts settings of trainer, callbacks, "
        "logger, evaluator, features, sampler, data.root and data.path; for anything else start a new run"
    )
