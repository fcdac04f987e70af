"""The probability flow solved to a tolerance, as continuous flows sample (Chen et al. 2018, arXiv:1806.07366)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from genmodels.capabilities import Denoiser, Level, Protocol
from genmodels.ranges import PositiveFloat
from genmodels.samplers.base import DenoisingSampler
from genmodels.samplers.dormand_prince import Rows, Times, require_tolerances, solve
from genmodels.samplers.probability_flow import LEAST, straight, time, velocity
from genmodels.seeds import GLOBAL, Random


@dataclass(frozen=True, kw_only=True)
class ODE(DenoisingSampler):
    """Dormand & Prince's method with steps of its own size, in float64 around the denoiser.

    It gives its estimate at each of the levels; how many calls of the denoiser it takes between them depends on the
    tolerances and on the sample, and not on the rest of the batch. The sample is the estimate at the end.
    """

    rtol: PositiveFloat  # error of a step as a part of a value
    atol: PositiveFloat  # and in addition to it, on the scale of the noise

    def __post_init__(self) -> None:
        super().__post_init__()
        require_tolerances(self.rtol, self.atol, "sampler")

    def __call__(
        self, denoiser: Denoiser, noise: Tensor, levels: Sequence[Level], rng: Random = GLOBAL
    ) -> Iterator[Tensor]:
        def slope(t: Times, y: Rows) -> Rows:
            return velocity(denoiser, t, y.view(noise.shape)).flatten(1)

        times = [time(level) for level in levels[:-1]]
        times.append(min(LEAST, times[-1]))
        y = noise.double().flatten(1) / (levels[0].alpha + levels[0].sigma).item()
        way = chain([y], solve(slope, y, times, rtol=self.rtol, atol=self.atol))
        for t, y_t in zip(times, way, strict=True):
            level = straight(torch.tensor(t, dtype=torch.float64))
            yield denoiser(y_t.view(noise.shape), level).to(noise.dtype)

    def protocol(self) -> Protocol:
        return super().protocol() | {"sampler_solver": "dopri5"}
