"""Checks that losses and gradients are finite, and weights before they are saved; all processes decide alike.

Where a step that is not finite ends the run, the steps are taken first and looked at later, several at a time, so that
training does not wait for the device; nothing is evaluated or saved in between. Of each the loss is looked at, of the
newest the gradient, too: weights that a gradient spoils make the next loss nan. Where such a step is skipped, each is
looked at before it moves anything: weights, optimizer state and statistics stay unchanged, and the step is counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from pytorch_lightning import Trainer
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from genmodels.errors import Fault
from genmodels.training.checkpoint import LastCheckpoint
from genmodels.training.sharding import local, pieces, whole

NanPolicy = Literal["stop", "skip"]

REMEDY = "lower optimizer.lr, set trainer.gradient_clip_val or lower it"
MOST_IN_A_ROW = 100  # consecutive steps of one optimizer that may be skipped


class Taken(NamedTuple):
    """What a step of an optimizer was taken by."""

    step: int  # number of the step
    lr: float
    terms: Mapping[str, Tensor]  # of the loss, of each sample; the mean loss first
    weights: Sequence[Tensor]  # those that have a gradient, if it is looked at
    norms: Sequence[Tensor]  # of the gradient of each, or of its shard; one that overflows, Adam's squares would

    def numbers(self) -> list[Tensor]:
        """What must be finite: the loss and the norms."""
        return [self.loss, *self.norms]

    @property
    def loss(self) -> Tensor:
        return next(iter(self.terms.values()))


class Watch:
    """Knows the steps that were taken, and finds those whose loss or gradient is not finite."""

    def __init__(self, *, policy: NanPolicy, model: nn.Module):
        self.policy = policy
        self.model = model
        self.skipped = 0  # steps skipped since the run began
        self.in_a_row: dict[int, int] = {}  # consecutive skipped steps, by the optimizer's number
        self.before: list[tuple[Tensor, Tensor]] = []  # statistics, and their values when the step began
        self.taken: list[Taken] = []  # steps that were not looked at
        self.closely = True  # whether to look at gradients, too, and not at losses alone

    def begin(self, trainer: Trainer) -> None:
        """Saves the statistics if steps may be skipped; must be called at the beginning of a step."""
        if self.may_skip(trainer):
            self.before = [(now, now.clone()) for now in statistics(self.model)]

    def may_skip(self, trainer: Trainer) -> bool:
        """Whether steps can be skipped: by the policy, or by the scaler of 16-mixed."""
        return self.policy == "skip" or trainer.scaler is not None

    def passes(self, trainer: Trainer, optimizer: Optimizer, terms: Mapping[str, Tensor]) -> bool:
        """Whether to take a step, given the terms of its loss, the mean loss first.

        Under 16-mixed the scaler handles a gradient that is not finite: it skips the step and lowers the scale. Raises
        Fault where too many consecutive steps were skipped.
        """
        may_skip = self.may_skip(trainer)
        gradient = gradient_norms(optimizer) if may_skip or self.closely else ([], [])
        step = Taken(trainer.global_step + 1, optimizer.param_groups[0]["lr"], terms, *gradient)
        if not may_skip:
            self.taken.append(step)
            return True
        number = trainer.optimizers.index(optimizer)
        if all_finite(step.numbers()):
            self.in_a_row[number] = 0
            return True
        self.skipped += 1
        self.in_a_row[number] = self.in_a_row.get(number, 0) + 1
        scalers = trainer.scaler is not None and all_finite([step.loss])
        if not (scalers or self.policy == "skip") or self.in_a_row[number] >= MOST_IN_A_ROW:
            raise Fault(self.explain(trainer, step, self.in_a_row[number]))
        for now, before in self.before:
            now.copy_(before)
        if not scalers:
            optimizer.zero_grad()  # an optimizer ignores weights without a gradient
        return False

    def look(self, trainer: Trainer) -> None:
        """Looks at the steps that were taken since it last did. Raises Fault where one was not finite."""
        taken, self.taken = self.taken, []
        if taken and not all_finite(number for step in taken for number in step.numbers()):
            failed = next(step for step in taken if not all_finite(step.numbers()))
            raise Fault(self.explain(trainer, failed, 1))

    def explain(self, trainer: Trainer, step: Taken, in_a_row: int) -> str:
        values = ", ".join(f"{name} = {value:g}" for name, value in mean_over_processes(step.terms).items())
        what = f"gradient{self.where(step)}" if all_finite([step.loss]) else next(iter(step.terms))
        again = f" and at {in_a_row - 1} steps before it" if in_a_row > 1 else ""
        skip = "" if self.policy == "skip" else ", or skip such steps by nan_policy=skip"
        return (
            f"the {what} is not finite at step {step.step}{again} ({values}; learning rate {step.lr:g}); "
            f"{REMEDY}{skip}; {last_good(trainer)}"
        )

    def where(self, step: Taken) -> str:
        """Names of the weights whose gradient was not finite, for a sentence."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        return non_finite_names(zip((names[id(p)] for p in step.weights), step.norms, strict=True))

    def require_finite_weights(self, trainer: Trainer) -> None:
        """Raises Fault if weights, or the states of their optimizers, are not finite, so that they are not saved."""
        states = [each for optimizer in trainer.optimizers for each in optimizer.state.values()]
        kept = [x for state in states for x in state.values() if isinstance(x, Tensor) and x.is_floating_point()]
        if not all_finite([get_total_norm(pieces([*self.model.parameters(), *kept]), norm_type=inf)]):
            after, where = f"after step {trainer.global_step}", non_finite_names(self.model.named_parameters())
            weights = f"weights are not finite {after}{where}, and were"
            state = f"optimizer's state is not finite {after}, and the weights were"
            raise Fault(f"the {weights if where else state} not saved; {REMEDY}; {last_good(trainer)}")

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether numbers (tensors without dimensions) are finite on every process; all processes must call it."""
    finite = torch.stack([whole(tensor).float() for tensor in tensors]).isfinite().all().int()
    if dist.is_initialized():
        dist.all_reduce(finite, dist.ReduceOp.MIN)
    return bool(finite)


def gradient_norms(optimizer: Optimizer) -> tuple[list[Tensor], Sequence[Tensor]]:
    """The weights that have a gradient, and the norm of each gradient or of its shard."""
    weights = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return weights, torch._foreach_norm([local(p.grad) for p in weights]) if weights else []


def non_finite_names(tensors: Iterable[tuple[str, Tensor | None]]) -> str:
    """The first tensor with an entry that is not finite, and how many more, for a sentence; "" where all are finite."""
    names = [name for name, tensor in tensors if tensor is not None and not whole(tensor).isfinite().all()]
    return f" in {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "") if names else ""


def mean_over_processes(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Each term's mean over its samples and all processes, as a number; all processes must call it."""
    if not terms:
        return {}
    means = torch.stack([term.mean().float() for term in terms.values()])
    if dist.is_initialized():
        dist.all_reduce(means)
        means /= dist.get_world_size()
    return dict(zip(terms, means.tolist(), strict=True))


def statistics(model: nn.Module) -> list[Tensor]:
    """The buffers that a model saves, such as batch norm's running means."""
    saved = model.state_dict().keys()
    return [buffer for name, buffer in model.named_buffers() if name in saved]


def last_good(trainer: Trainer) -> str:
    """The path of the last checkpoint, for a sentence; its weights were finite when it was written."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    files = [callback.path for callback in callbacks if isinstance(callback, LastCheckpoint)]
    return next((f"the last good checkpoint is {file}" for file in files if file.exists()), "no checkpoint was written")
