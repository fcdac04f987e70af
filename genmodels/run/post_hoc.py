"""Post-hoc EMA: an average of a run's weights of any width, reconstructed from its snapshots after the training.

Karras et al. 2024, https://arxiv.org/abs/2312.02696, section 3.2 and appendix C. A power-function average up to the
t-th update weighs the weights theta(s) by the profile p_t(s) = (gamma + 1) s^gamma / t^(gamma + 1) on [0, t]. The
coefficients x of the snapshots solve the least-squares problem A x = b, with the inner products A_ij = <p_i, p_j> of
their profiles, and b_i = <p_i, p> with the target profile p.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from genmodels.errors import UserError
from genmodels.run.layout import SNAPSHOTS
from genmodels.run.trust import refused


class SnapshotFacts(NamedTuple):
    """What a snapshot contains."""

    relative_std: float
    updates: int  # t
    step: int
    images_seen: int
    averaged: list[str]  # names of the averaged weights; the others are those of the raw model


class Profile(NamedTuple):
    """The weighting of an average over the updates so far."""

    t: float  # updates
    gamma: float


def gamma_of(relative_std: float) -> float:
    """The exponent whose profile has this relative standard deviation,
    (gamma + 1)^(1/2) (gamma + 2)^-1 (gamma + 3)^(-1/2)."""
    if not 0 < relative_std < 12**-0.5:
        raise UserError(f"relative_std is {relative_std}, expected a number above 0 and below 0.2886")
    inverse = relative_std**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


def inner_product(a: Profile, b: Profile) -> float:
    """The integral of the product of two profiles."""
    (first, gamma_a), (second, gamma_b) = a, b
    t = min(first, second)
    powers = gamma_a * np.log(t / first) + gamma_b * np.log(t / second) + np.log(t / (first * second))
    return float((gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1) * np.exp(powers))


def coefficients(there: Sequence[Profile], wanted: Profile) -> NDArray[np.float64]:
    """The coefficients of the given averages in the least-squares approximation of the wanted one."""
    a = np.array([[inner_product(one, other) for other in there] for one in there])
    b = np.array([inner_product(one, wanted) for one in there])
    return np.linalg.lstsq(a, b, rcond=None)[0]


def read_facts(file: Path) -> SnapshotFacts:
    """The facts of a snapshot. UserError where the file is not a snapshot."""
    try:
        with safe_open(file, "pt") as opened:
            return SnapshotFacts(**json.loads(opened.metadata()["facts"]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise refused(file, f"is not a snapshot of weights ({error})") from error


def reconstruct_average(run_dir: Path, relative_std: float) -> tuple[dict[str, Tensor], SnapshotFacts]:
    """The average of this width at the newest snapshot: the model's state and its facts.

    Raises:
        UserError: the run has no snapshots, or no power function has this width.
    """
    files = sorted((run_dir / SNAPSHOTS).glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{run_dir} has no snapshots of averaged weights, which relative_std= needs; train a run with "
            "callbacks=[default,snapshots]"
        )
    facts = [read_facts(file) for file in files]
    newest = max(facts, key=lambda each: each.step)
    profiles = [Profile(each.updates, gamma_of(each.relative_std)) for each in facts]
    x = coefficients(profiles, Profile(newest.updates, gamma_of(relative_std)))
    return _combined(files, x, facts.index(newest)), newest._replace(relative_std=relative_std)


def _combined(files: Sequence[Path], x: NDArray[np.float64], newest: int) -> dict[str, Tensor]:
    """The sum of the snapshots' averaged weights times x, in float64; the other tensors as in the newest snapshot."""
    averaged = set(read_facts(files[newest]).averaged)
    state = load_file(files[newest])
    total = {name: state[name].double().zero_() for name in averaged}
    for file, factor in zip(files, x, strict=True):
        with safe_open(file, "pt") as opened:
            for name in averaged:
                total[name] += float(factor) * opened.get_tensor(name).double()
    return state | {name: w.to(state[name].dtype) for name, w in total.items()}
