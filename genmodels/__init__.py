"""genmodels: config-driven experiments with deep generative models.

model = genmodels.load("outputs/digits_ddpm/2026-11-20_10-00-00-000000")
x = model.sample(16)          # data units, uint8 (16, c, h, w)
nats = model.log_prob(x)      # (16,), where the model has a likelihood; model.bound says of what kind
bpd = genmodels.bits_per_dim(-nats, dims=x[0].numel())
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genmodels.run.checkpoint import load
    from genmodels.units import bits_per_dim

__all__ = ["bits_per_dim", "load"]


def __getattr__(name: str) -> Any:
    """Imports torch only when it is needed, so that `genmodels --help` answers at once."""
    if name == "load":
        from genmodels.run.checkpoint import load

        return load
    if name == "bits_per_dim":
        from genmodels.units import bits_per_dim

        return bits_per_dim
    raise AttributeError(f"module 'genmodels' has no attribute {name!r}")
