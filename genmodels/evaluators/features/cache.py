"""Weights in the user's cache directory: written atomically, and used only if their hash is right."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from genmodels.disk.atomic import replacing
from genmodels.errors import UserError
from genmodels.evaluators.features.base import weights_sha256

Weights = dict[str, Tensor]


def stored(path: Path) -> tuple[Weights, dict[str, Any]] | None:
    """Weights and facts from `store`; None where there is no file or it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            note = json.loads(file.metadata()["note"])
    except (OSError, SafetensorError, TypeError, KeyError, ValueError):
        return None
    return (weights, note["facts"]) if note["sha256"] == weights_sha256(weights) else None


def store(path: Path, weights: Weights, facts: dict[str, Any]) -> None:
    """Writes the file whole or not at all."""
    note = json.dumps({"sha256": weights_sha256(weights), "facts": facts})
    try:
        with replacing(path) as file:
            file.write(save(weights, {"note": note}))
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror}): set GENMODELS_CACHE to a directory that can be written"
        ) from error
