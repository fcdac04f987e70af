"""genmodels: config-driven experiments with deep generative models.

run = genmodels.train("experiment=digits_ddpm", "trainer.max_steps=600")   # the overrides of the command line
run.results, run.curves, run.path                                          # records; a pandas DataFrame; the directory
model = genmodels.load(run)   # or a directory, or a .ckpt: its EMA weights, in eval mode
x = model.sample(16)          # data units, uint8 (16, c, h, w)
nats = model.log_prob(x)      # (16,), where the model has a likelihood; model.bound says of what kind
bpd = genmodels.bits_per_dim(-nats, dims=x[0].numel())
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genmodels.api import evaluate, latent_direction, sample, train
    from genmodels.latents import mean_code, moved
    from genmodels.run.checkpoint import load
    from genmodels.run.run import Run
    from genmodels.units import bits_per_dim

__all__ = ["Run", "bits_per_dim", "evaluate", "latent_direction", "load", "mean_code", "moved", "sample", "train"]

PLACES = {
    "Run": "run.run",
    "bits_per_dim": "units",
    "evaluate": "api",
    "latent_direction": "api",
    "load": "run.checkpoint",
    "mean_code": "latents",
    "moved": "latents",
    "sample": "api",
    "train": "api",
}


def __getattr__(name: str) -> Any:
    """Imports torch only when it is needed, so that `genmodels --help` answers at once."""
    if name not in PLACES:
        raise AttributeError(f"module 'genmodels' has no attribute {name!r}")
    return getattr(import_module(f"genmodels.{PLACES[name]}"), name)
