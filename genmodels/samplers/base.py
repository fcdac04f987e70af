"""The base of all samplers: a name and settings, all of which are in the protocol of the samples."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from genmodels.capabilities import Denoiser, Level, Protocol, Sampler
from genmodels.errors import UserError
from genmodels.ranges import NonNegativeFloat, NonNegativeOrInfinite, PositiveInt
from genmodels.seeds import GLOBAL, Random


def settings(sampler: Any) -> Protocol:
    """`sampler`, the name of its class, and `sampler_<setting>` for every field."""
    values = {f"sampler_{field.name}": getattr(sampler, field.name) for field in fields(sampler)}
    return {"sampler": type(sampler).__name__.lower(), **values}


@dataclass(frozen=True, kw_only=True)
class DenoisingSampler(Sampler):
    """A method to get from noise to data with any denoiser D(x_t, level)."""

    steps: PositiveInt | None  # noise levels that it visits; None: all, if the model has finitely many
    guidance: NonNegativeFloat  # scale of classifier-free guidance: D_absent + guidance (D - D_absent); 1: none
    guidance_interval: Sequence[NonNegativeOrInfinite] | None  # [low, high] of sigma/alpha with guidance; null: all
    clip: bool  # clips estimates to the range of clean data, where the model's space has one

    def __post_init__(self) -> None:
        interval = self.guidance_interval
        if interval is not None and not (len(interval) == 2 and 0 <= interval[0] < interval[1]):
            raise UserError(f"sampler.guidance_interval is {interval}, expected [low, high] of sigma, 0 <= low < high")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"sampler.steps is {self.steps}, expected at least 1")

    @abstractmethod
    def __call__(
        self, denoiser: Denoiser, noise: Tensor, levels: Sequence[Level], rng: Random = GLOBAL
    ) -> Iterator[Tensor]:
        """Estimates of the clean data, one for each step, each (b, ...); the last is the sample.

        `levels` are the levels to visit, (alpha, sigma) of shape () float64 on the CPU, from the noisiest to the clean
        one, (1, 0). `noise` is a draw at the noisiest level. Random numbers come from `rng`.
        """

    def protocol(self) -> Protocol:
        """All settings; the interval is None without guidance, since it changes nothing then."""
        interval = None if self.guidance == 1 else self.guidance_interval
        return settings(self) | {"sampler_guidance_interval": None if interval is None else list(interval)}
