"""Moves, indexes, cuts and repeats batches of samples, whether they are one tensor or a mapping of several."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

Tree = TypeVar("Tree")


def count(tree: Any) -> int:
    """Samples in a batch: the length of its first tensor."""
    return len(tree if isinstance(tree, Tensor) else tree_leaves(tree)[0])


def over(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The batch with each tensor changed: torch's `tree_map`, at a tenth of its cost for what most batches are."""
    if isinstance(tree, Tensor):
        return change(tree)
    if type(tree) is dict:
        return {name: over(value, change) for name, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_make"):  # a named one
        return tree._make(over(value, change) for value in tree)
    return tree_map(change, tree)


def to(tree: Tree, device: torch.device, non_blocking: bool = False) -> Tree:
    """The batch on a device; non_blocking: the CPU does not wait for a copy from pinned memory."""
    return over(tree, lambda t: t.to(device, non_blocking=non_blocking))


def take(tree: Tree, index: Int[Tensor, " k"]) -> Tree:
    """The samples with these numbers; a view, such as overlapping windows, is not copied as a whole."""
    return over(tree, lambda t: t.index_select(0, index.to(t.device)))


def first(tree: Tree, n: int | None) -> Tree:
    """The first `n` samples; None: all."""
    return over(tree, lambda t: t[:n])


def part(tree: Tree, of: slice) -> Tree:
    """A slice of the samples."""
    return over(tree, lambda t: t[of])


def repeat(tree: Tree, k: int) -> Tree:
    """(b, ...) to (k b, ...): the whole batch, k times."""
    return over(tree, lambda t: t.repeat(k, *[1] * (t.ndim - 1)))


def chunk(tree: Tree, n: int) -> list[Tree]:
    """The batch in `n` parts; a batch without tensors is repeated `n` times."""
    leaves, spec = tree_flatten(tree)
    parts = [leaf.chunk(n) for leaf in leaves]
    return [tree_unflatten([each[i] for each in parts], spec) for i in range(n)]


def cat(trees: Sequence[Tree]) -> Tree:
    """Batches concatenated along the first dimension."""
    leaves, spec = zip(*(tree_flatten(tree) for tree in trees), strict=True)
    return tree_unflatten([torch.cat(each) for each in zip(*leaves, strict=True)], spec[0])


def tensors(tree: Any) -> list[tuple[str, Tensor]]:
    """Names and tensors, in a fixed order; a single tensor has the name ""."""
    return sorted(tree.items()) if isinstance(tree, Mapping) else [("", tree)]
