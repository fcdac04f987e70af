"""The ODE solver of Dormand & Prince (1980, https://doi.org/10.1016/0771-050X(80)90013-3): order 5, adaptive steps.

The difference to an embedded solution of order 4 estimates the error of a step. Every row of a batch has its own time
and step size, chosen from its own largest error, so that the rest of the batch does not change its solution. Rows that
have arrived wait for the last one, with steps of size 0.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from genmodels.errors import Fault, UserError

Times = Float[Tensor, " b"]
Rows = Float[Tensor, "b n"]
Field = Callable[[Times, Rows], Rows]  # dy/dt at t and y

NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)  # the times of the stages after the first, as parts of a step
STAGES = (  # weights of the slopes before each of these stages; the last stage is the solution of order 5
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)  # order 5 minus order 4

FIRST = 0.01  # the first step, and
SMALLEST = 1e-12  # the step at which the solver gives up, as parts of the whole way
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0  # of a step size, from one step to the next


def solve(f: Field, y: Rows, times: Sequence[float], *, rtol: float, atol: float) -> Iterator[Rows]:
    """y at each of the monotone `times` after the first, at which the given y is.

    In each step the error of every entry is at most atol + rtol |y|. `y` should be float64. Waits for the device once
    in each step. Raises Fault where the steps become too small to go on.
    """
    t = y.new_full((len(y),), times[0])
    h = torch.full_like(t, FIRST * (times[-1] - times[0]))
    slope = f(t, y)
    for end in times[1:]:
        while not (there := t == end).all():
            require_progress(~there, t, h / (times[-1] - times[0]), rtol, atol)
            last = (end - t).abs() <= h.abs()
            step = torch.where(last, end - t, h)
            y_new, slope_new, error = attempt(f, t, y, slope, step)
            ratio = (error.abs() / (atol + rtol * torch.maximum(y.abs(), y_new.abs()))).amax(1)
            kept = ratio <= 1
            t = torch.where(kept, torch.where(last, end, t + step), t)
            y, slope = (torch.where(kept[:, None], *pair) for pair in ((y_new, y), (slope_new, slope)))
            better = step * (SAFETY * ratio**-0.2).nan_to_num(nan=SHRINK).clamp(SHRINK, GROW)
            h = torch.where(kept & (better.abs() < h.abs()), h, better)
        yield y


def attempt(f: Field, t: Times, y: Rows, slope: Rows, step: Times) -> tuple[Rows, Rows, Rows]:
    """y after a step, the slope there, and the estimated error; `slope` is that at the start."""
    slopes, h, end = [slope], step[:, None], y
    for node, weights in zip(NODES, STAGES, strict=True):
        end = y + h * weighted(weights, slopes)
        slopes.append(f(t + node * step, end))
    return end, slopes[-1], h * weighted(ERROR, slopes)


def weighted(weights: Sequence[float], slopes: Sequence[Rows]) -> Rows:
    """The sum of the slopes with these weights."""
    return torch.stack([w * k for w, k in zip(weights, slopes, strict=True) if w]).sum(0)


def require_progress(active: Tensor, t: Times, part: Times, rtol: float, atol: float) -> None:
    """Fault where the step of a row that has not arrived is too small a part of the whole way."""
    if (stuck := active & ~(part >= SMALLEST)).any():
        raise Fault(
            f"the ODE's steps became too small at t={t[stuck][0]:.6g}: the model's output is not finite there, or "
            f"rtol={rtol} and atol={atol} are below its rounding errors; check the model's weights, or choose larger "
            "tolerances"
        )


def require_tolerances(rtol: float, atol: float, key: str) -> None:
    """UserError for tolerances that no solver can meet; `key` is where they are in a config."""
    if not (rtol > 0 and atol > 0):
        raise UserError(f"{key}.rtol is {rtol} and {key}.atol is {atol}, expected numbers above 0, such as 1e-5")
