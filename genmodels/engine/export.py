"""Exports a run's model as a folder that `genmodels.load` and other programs read."""

from pathlib import Path
from typing import Any

from genmodels.console import show_paths
from genmodels.engine.trained import named_checkpoint
from genmodels.run.checkpoint import model_of, read_checkpoint, weights_of
from genmodels.run.export import require_free
from genmodels.run.export import write as write_export


def export(config: dict[str, Any]) -> None:
    """Writes the model of the checkpoint that a checked, resolved config names into the folder `out`."""
    out = Path(config["out"]).expanduser()
    require_free(out)
    checkpoint = read_checkpoint(named_checkpoint(config))
    model = model_of(checkpoint, trusted=config["trusted"], weights=config["weights"])
    about = {
        "weights": config["weights"] or weights_of(checkpoint),
        "step": checkpoint["global_step"],
        "images_seen": checkpoint.get("images_seen"),
    }
    write_export(out, model, checkpoint["config"], about)
    show_paths({"export": out})
