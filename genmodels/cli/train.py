"""genmodels train: trains by the command line, or by the config of the run to resume."""

from genmodels.cli.app import run_app
from genmodels.config.resumed import to_go_on_with


def run(argv: list[str]) -> int:
    config = None if "--help" in argv else to_go_on_with(argv)
    return run_app("train", argv, check="training_config", work="genmodels.engine.train:train", config=config)
