"""The config of each job before any of them runs: what is wrong is found now, and what it runs has a name."""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from hashlib import sha256
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from genmodels.changes import MOVABLE_KEYS
from genmodels.cli.config.check import check
from genmodels.cli.config.complaints import explain_composition
from genmodels.cli.config.compose import resolved
from genmodels.cli.config.origin import origin
from genmodels.cli.config.schema import Train
from genmodels.errors import UserError

PLACES = tuple(f"trainer.{key}" for key in ("accelerator", "devices", "num_nodes", "strategy"))
LEFT_OUT = ("logger", "resume", "trusted", "run_dir", *MOVABLE_KEYS, *PLACES)  # they do not change what is run


class Composer:
    """Composes jobs as Hydra will do it again when they begin."""

    def __init__(self, loader: ConfigLoader, config: DictConfig):
        self.loader = loader
        self.config = config  # of the sweep itself

    def config_of(self, fixed: Sequence[str], swept: Sequence[str] = ()) -> dict[str, Any]:
        """The resolved config of a job with these overrides, its places below ".".

        Raises:
            UserError: it cannot be composed, or training would refuse it before it begins.
        """
        try:
            cfg = self.loader.load_sweep_config(self.config, [*fixed, *swept])
        except (HydraException, OmegaConfBaseException) as error:
            of_job = f" (in the job {' '.join(swept)})" if swept else ""
            raise UserError(explain_composition(error, "train", [*fixed, *swept]) + of_job) from error
        with read_write(cfg.hydra.runtime), open_dict(cfg.hydra.runtime):
            cfg.hydra.runtime.output_dir = "."
        HydraConfig.instance().set_config(cfg)  # which interpolations look into
        with open_dict(cfg):
            del cfg["hydra"]
        config = resolved(cfg)
        check(config, Train, origin)
        return config


def what_is_run(config: Mapping[str, Any], swept: Sequence[str]) -> dict[str, Any]:
    """A config without what does not change what is run, unless that is swept."""
    kept = deepcopy(dict(config))
    for path in LEFT_OUT:
        if not any(key == path or key.startswith(f"{path}.") for key in swept):
            *above, last = path.split(".")
            node = kept
            for key in above:
                node = node[key]
            node.pop(last, None)
    return kept


def identity(config: Mapping[str, Any], swept: Sequence[str]) -> str:
    """A hash of what is run: two jobs with the same one would give the same."""
    return sha256(json.dumps(what_is_run(config, swept), sort_keys=True).encode()).hexdigest()[:16]
