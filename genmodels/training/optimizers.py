"""Parameter groups of an optimizer: weights with settings of their own.

A parameter group (config group `parameter_groups`) selects weights by any of `below_dims`, `pattern` and `layers`, and
has the settings that differ from the optimizer's for them, such as weight_decay: 0.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer

from genmodels.errors import UserError

MATCHES = ("below_dims", "pattern", "layers")
Group = Mapping[str, Any]
MakeOptimizer = Callable[[Sequence[dict[str, Any]]], Optimizer]  # torch's groups: params, and settings
Named = tuple[str, Parameter]


def trained_weights(model: nn.Module, modules: Sequence[nn.Module]) -> list[Named]:
    """The trainable weights of these parts of a model, with their names in the model."""
    ours = {id(p) for module in modules for p in module.parameters() if p.requires_grad}
    return [(name, p) for name, p in model.named_parameters() if id(p) in ours]


def grouped(model: nn.Module, weights: Sequence[Named], groups: Mapping[str, Group]) -> list[dict[str, Any]]:
    """torch's parameter groups: first the weights that no group matches, then each group with its settings.

    A weight belongs to the first group that matches it. Empty groups are left out.
    """
    by_group: dict[str | None, list[Parameter]] = {name: [] for name in (None, *groups)}
    for name, p in weights:
        group = next((each for each, node in groups.items() if _matches(model, name, p, node)), None)
        by_group[group].append(p)
    settings = {name: _settings(node) for name, node in groups.items()}
    return [{"params": params, **settings.get(name or "", {})} for name, params in by_group.items() if params]


def check_groups(model: nn.Module, groups: Mapping[str, Group], defaults: Mapping[str, Any]) -> None:
    """UserError where a group selects no weight, has no selector, or has a setting that the optimizer lacks."""
    weights = trained_weights(model, [model])
    for name, node in groups.items():
        where = f"parameter_groups.{name}"
        if not isinstance(node, Mapping) or not node.keys() & set(MATCHES):
            raise UserError(f"{where} does not select weights, expected one of the keys {', '.join(MATCHES)}")
        if unknown := sorted(_settings(node).keys() - defaults.keys()):
            raise UserError(
                f"{where}.{unknown[0]} is not a setting of the optimizer; choose from {', '.join(sorted(defaults))}"
            )
        if not any(_matches(model, each, p, node) for each, p in weights):
            raise UserError(f"{where} matches no weight of the model; correct it or leave it out")


def _settings(node: Group) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in MATCHES}


def _matches(model: nn.Module, name: str, p: Parameter, node: Group) -> bool:
    layer = type(model.get_submodule(name.rpartition(".")[0]))
    return (
        p.ndim < node.get("below_dims", 0)
        or ("pattern" in node and re.search(node["pattern"], name) is not None)
        or any(kind.__name__ in node.get("layers", ()) for kind in layer.__mro__)
    )
