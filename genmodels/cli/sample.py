"""genmodels sample: draws, completes or translates samples with a run's model; saves a picture, text or arrays."""

from genmodels.cli.app import run_app


def run(argv: list[str]) -> int:
    return run_app("sample", argv, check="sampling_config", work="genmodels.engine.sample:sample")
