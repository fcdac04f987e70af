"""genmodels export: a run's model as weights and config that `genmodels.load` and other programs read."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from genmodels.cli.app import run_app
from genmodels.cli.config.compose import resolved


def run(argv: list[str]) -> int:
    return run_app("export", argv, task)


def task(cfg: DictConfig) -> None:
    """One call of the command, from its composed config."""
    from genmodels.cli.config.check import check
    from genmodels.cli.config.origin import origin
    from genmodels.cli.config.schema import Export

    config = resolved(cfg)
    check(config, Export, origin)
    export(config)


def export(config: dict[str, Any]) -> None:
    """Writes the model of the checkpoint that a checked, resolved config names into the folder `out`."""
    from genmodels import exports
    from genmodels.cli.evaluate import named_checkpoint
    from genmodels.cli.tables import show_paths
    from genmodels.run.checkpoint import model_of, read_checkpoint, weights_of

    out = Path(config["out"]).expanduser()
    exports.require_free(out)
    checkpoint = read_checkpoint(named_checkpoint(config))
    model = model_of(checkpoint, trusted=config["trusted"], weights=config["weights"])
    about = {
        "weights": config["weights"] or weights_of(checkpoint),
        "step": checkpoint["global_step"],
        "images_seen": checkpoint.get("images_seen"),
    }
    exports.write(out, model, checkpoint["config"], about)
    show_paths({"export": out})
