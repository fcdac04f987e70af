"""Compiled networks (torch.compile; Ansel et al. 2024, https://doi.org/10.1145/3620665.3640366), only in training.

A model's parts are compiled in place at their first call, so names in checkpoints do not change. Methods other than
`forward`, such as a flow's inverse or a cached step, run uncompiled, and so do evaluation and double differentiation
(`torch.compiler.set_stance`).
"""

from typing import Any

from torch import nn

from genmodels.errors import UserError


def compile_networks(model: nn.Module, **settings: Any) -> None:
    """Compiles each part of `model` at its first call, with torch.compile's `settings`."""
    for part in model.children():
        part.compile(**settings)


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
