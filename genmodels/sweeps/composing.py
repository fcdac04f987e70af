"""Composes the config of each job before any of them runs, to find mistakes early and to identify the job."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from genmodels.config.check import check
from genmodels.config.compose import resolved
from genmodels.config.messages import explain_composition
from genmodels.config.origin import origin
from genmodels.config.roles import Role, without
from genmodels.config.schema import Train
from genmodels.errors import UserError

IGNORED_ROLES = (Role.MACHINE, Role.PLACE, Role.WATCHES, Role.ABOUT)  # roles of keys that do not change what is run


class Composer:
    """Composes the configs of jobs in the same way as Hydra does when they start."""

    def __init__(self, loader: ConfigLoader, config: DictConfig):
        self.loader = loader
        self.config = config  # of the sweep itself

    def config_of(self, fixed: Sequence[str], swept: Sequence[str] = ()) -> dict[str, Any]:
        """The resolved config of a job with these overrides, with "." as its run directory.

        Raises:
            UserError: it cannot be composed, or does not pass the check of `train`.
        """
        try:
            cfg = self.loader.load_sweep_config(self.config, [*fixed, *swept])
        except (HydraException, OmegaConfBaseException) as error:
            of_job = f" (in the job {' '.join(swept)})" if swept else ""
            raise UserError(explain_composition(error, "train", [*fixed, *swept]) + of_job) from error
        with read_write(cfg.hydra.runtime), open_dict(cfg.hydra.runtime):
            cfg.hydra.runtime.output_dir = "."
        HydraConfig.instance().set_config(cfg)  # interpolations read it
        with open_dict(cfg):
            del cfg["hydra"]
        config = resolved(cfg)
        check(config, Train, origin)
        return config


def what_is_run(config: Mapping[str, Any], swept: Sequence[str]) -> dict[str, Any]:
    """A config without the keys that do not change what is run, unless they are swept."""
    return without(config, *IGNORED_ROLES, keep=tuple(swept))


def identity(config: Mapping[str, Any], swept: Sequence[str]) -> str:
    """A hash of what is run: two jobs with the same hash give the same results."""
    return sha256(json.dumps(what_is_run(config, swept), sort_keys=True).encode()).hexdigest()[:16]
