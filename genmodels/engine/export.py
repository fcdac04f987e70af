"""Exports a run's model into a folder that `genmodels.load` and other programs can read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genmodels.console import show_paths
from genmodels.engine.trained import named_checkpoint
from genmodels.run.checkpoint import model_of, read_checkpoint, weights_of
from genmodels.run.export import require_free, write_export
from genmodels.run.post_hoc import reconstruct_average


def export(config: dict[str, Any]) -> None:
    """Writes the model of the checkpoint that a checked, resolved config names into the folder `out`."""
    out = Path(config["out"]).expanduser()
    require_free(out)
    checkpoint = read_checkpoint(named_checkpoint(config))
    model = model_of(checkpoint, trusted=config["trusted"], weights=config["weights"])
    if config["relative_std"] is None:
        about = _about(config["weights"] or weights_of(checkpoint), checkpoint)
    else:
        state, facts = reconstruct_average(Path(config["run"]).expanduser(), config["relative_std"])
        model.load_state_dict(state)
        about = {**_about("ema", facts._asdict()), "relative_std": facts.relative_std}
    write_export(out, model, checkpoint["config"], about)
    show_paths({"export": out})


def _about(weights: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Which weights are exported, and after how many steps and images."""
    step = facts["step"] if "step" in facts else facts["global_step"]
    return {"weights": weights, "step": step, "images_seen": facts.get("images_seen")}
