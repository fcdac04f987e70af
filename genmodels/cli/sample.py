"""genmodels sample: draws samples from a run's model, or translates images by it, into a picture, a text or arrays."""

from genmodels.cli.app import run_app


def run(argv: list[str]) -> int:
    return run_app("sample", argv, check="sampling_config", work="genmodels.engine.sample:sample")
