"""genmodels export: a run's model as weights and config that `genmodels.load` and other programs read."""

from genmodels.cli.app import run_app


def run(argv: list[str]) -> int:
    return run_app("export", argv, check="export_config", work="genmodels.engine.export:export")
