"""Sampling in one call, as for flows, autoregressive models, VAEs and GANs, with a temperature or truncation.

Temperature: Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039, section 6. Truncation: Brock et al. 2019,
https://arxiv.org/abs/1809.11096, section 3.1.
"""

from dataclasses import dataclass
from typing import Any

from genmodels.capabilities import Protocol, Sampler, Samples
from genmodels.errors import UserError
from genmodels.ranges import PositiveFloat
from genmodels.samplers.base import settings


@dataclass(frozen=True, kw_only=True)
class Direct(Sampler):
    """One call of the model; `steered_by` of its class names the settings that the model uses."""

    temperature: PositiveFloat  # 1: the model itself; below 1: likelier samples
    truncation: PositiveFloat | None  # entries of a GAN's z beyond this are drawn again; null: no truncation

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise UserError(f"sampler.temperature is {self.temperature}, expected a number above 0; 1 changes nothing")
        if self.truncation is not None and self.truncation <= 0:
            raise UserError(f"sampler.truncation is {self.truncation}, expected a number above 0, or null for none")

    def protocol(self) -> Protocol:
        return settings(self)

    def check(self, model: Samples) -> None:
        neutral: dict[str, Any] = {"temperature": 1, "truncation": None}
        meant = getattr(model, "steered_by", ())
        for name, nothing in neutral.items():
            if getattr(self, name) != nothing and name not in meant:
                raise UserError(
                    f"sampler.{name}={getattr(self, name)} means nothing to {type(model).__name__}; leave it out"
                    + (f" (it takes {', '.join(meant)})" if meant else "")
                )
