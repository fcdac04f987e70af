"""genmodels train: trains by the command line, or by the config of the run to resume."""

from genmodels.cli.app import run_app
from genmodels.config.resumed import find_resumed_config


def run(argv: list[str]) -> int:
    config = None if "--help" in argv else find_resumed_config(argv)
    return run_app("train", argv, check="training_config", work="genmodels.engine.train:train", config=config)
