"""Composes a command's config without a command line, for `genmodels.train(...)` and similar calls."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from genmodels.config.messages import explain_composition
from genmodels.config.paths import quoted
from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError


@contextmanager
def composed(name: str, overrides: Sequence[str], config_dir: str | PathLike[str] | None) -> Iterator[DictConfig]:
    """The config that Hydra would give to a command, valid in the block; its interpolations know the run directory and
    the chosen options, as on the command line.

    Raises:
        UserError: it cannot be composed.
    """
    search = [] if config_dir is None else [f"hydra.searchpath=[{quoted(f'file://{Path(config_dir).resolve()}')}]"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            cfg = compose(name, [*search, *overrides], return_hydra_config=True)
            with read_write(cfg.hydra.runtime), open_dict(cfg.hydra.runtime):
                HydraConfig.instance().set_config(cfg)
                cfg.hydra.runtime.output_dir = str(Path(cfg.hydra.run.dir).absolute())
            HydraConfig.instance().set_config(cfg)
            with open_dict(cfg):
                del cfg["hydra"]
            yield cfg
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise UserError(explain_composition(error, name, list(overrides))) from error
