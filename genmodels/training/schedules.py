"""Learning-rate schedules: functions from the optimizer step to a factor of the optimizer's learning rate."""

from abc import ABC, abstractmethod
from math import cos, pi

from genmodels.ranges import NonNegativeFloat, NonNegativeInt, PositiveInt


class Schedule(ABC):
    """Maps step 0, 1, ... to a factor >= 0: `shape`, times a linear rise over the first `warmup_steps`."""

    def __init__(
        self,
        *,
        warmup_steps: NonNegativeInt,  # in which the rate grows from 0 to its height
    ):
        self.warmup_steps = warmup_steps

    def __call__(self, step: int) -> float:
        """Factor of the learning rate at `step`; the factor of the warm-up rises from 1/warmup_steps to 1."""
        return min(1.0, (step + 1) / max(1, self.warmup_steps)) * self.shape(step)

    @abstractmethod
    def shape(self, step: int) -> float:
        """Factor at `step` without the warm-up."""


class Constant(Schedule):
    """A constant learning rate."""

    def shape(self, step: int) -> float:
        return 1.0


class _Decay(Schedule, ABC):
    """Decays from 1 at step 0 to `final` at `total_steps`, then stays constant."""

    def __init__(
        self,
        *,
        warmup_steps: NonNegativeInt,  # in which the rate grows from 0 to its height
        total_steps: PositiveInt,  # at which the decay ends
        final: NonNegativeFloat,  # last rate, as a fraction of its height
    ):
        super().__init__(warmup_steps=warmup_steps)
        self.total_steps = total_steps
        self.final = final

    def shape(self, step: int) -> float:
        progress = min(1.0, step / self.total_steps)
        return self.final + (1 - self.final) * self.remaining(progress)

    @abstractmethod
    def remaining(self, progress: float) -> float:
        """From 1 at progress 0 to 0 at progress 1."""


class Cosine(_Decay):
    """Half a cosine (Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983)."""

    def remaining(self, progress: float) -> float:
        return (1 + cos(pi * progress)) / 2


class Linear(_Decay):
    """A straight line."""

    def remaining(self, progress: float) -> float:
        return 1 - progress


class LinearHalf(Schedule):
    """1 for the first half of `total_steps`, then a straight line to 0 (Zhu et al. 2017,
    https://arxiv.org/abs/1703.10593, section 4)."""

    def __init__(self, *, warmup_steps: NonNegativeInt, total_steps: PositiveInt):
        super().__init__(warmup_steps=warmup_steps)
        self.total_steps = total_steps

    def shape(self, step: int) -> float:
        return min(1.0, max(0.0, 2 - 2 * step / self.total_steps))


class Stages(Schedule):
    """Stage i = 0, 1, ... has the factor 10^(-i/7) and lasts 3^i times as long as stage 0; the last stage has no end
    (Burda et al. 2016, https://arxiv.org/abs/1509.00519, section 5)."""

    def __init__(self, *, warmup_steps: NonNegativeInt, first_steps: PositiveInt, stages: PositiveInt):
        super().__init__(warmup_steps=warmup_steps)
        self.first_steps = first_steps  # of stage 0
        self.stages = stages

    def shape(self, step: int) -> float:
        ends = (self.first_steps * (3 ** (i + 1) - 1) // 2 for i in range(self.stages - 1))
        return 10 ** (-sum(step >= end for end in ends) / 7)
