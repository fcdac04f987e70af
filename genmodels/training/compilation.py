"""Compiled losses (torch.compile; Ansel et al. 2024, https://doi.org/10.1145/3620665.3640366), only in training.

A whole loss is compiled, with the networks in it: on a CPU most is gained where what follows the networks, such as a
likelihood of many small operations, becomes one loop. The model itself is unchanged, so evaluation, samples, caches and
names in checkpoints are those of a model that is not compiled.
"""

from collections.abc import Sequence
from typing import Any

import torch

from genmodels.capabilities import Player
from genmodels.errors import UserError


def compiled(players: Sequence[Player], **settings: Any) -> list[Player]:
    """The players with losses that are compiled at their first call, by torch.compile's `settings`.

    What this process has compiled before is forgotten: torch compiles a function, here one for all models, a limited
    number of times.
    """
    torch.compiler.reset()
    return [player._replace(loss=torch.compile(player.loss, **settings)) for player in players]


def require_compiler() -> None:
    """UserError without a C++ compiler, which torch.compile needs."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise UserError(
            "compile=true needs a C++ compiler, and none was found; install g++, name another in the variable CXX, "
            "or set compile=false"
        ) from error
