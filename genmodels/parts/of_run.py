"""The codes of a first stage that another run trained, as a space, for a prior of VQ-VAE's codes (van den Oord et al.
2017, https://arxiv.org/abs/1711.00937, section 3.2) and for latent diffusion (Rombach et al. 2022,
https://arxiv.org/abs/2112.10752). The data are still images."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from genmodels.capabilities import NO_CONDITION, Batch, Condition, Initialises, PerSample, Protocol
from genmodels.parts.spaces import Code, Space
from genmodels.ranges import PositiveInt, TwoOrMore
from genmodels.seeds import GLOBAL, Random, seeded


class OfRun(Space, Initialises):
    """u = (code - mean)/std with the code of a frozen stage; integer codes stay unchanged.

    The stage is the model of the other run. Its weights are part of this run's checkpoints, so that the other run is
    not needed once training has begun (`genmodels.run.first_stages`). Its parameters have no gradient, so optimizers
    and averages ignore them. With the stage's log p(x|u)/q(u|x) every likelihood is a lower bound of log p(x).
    """

    stochastic, lossless = True, False
    mean: Tensor  # (), over all entries of real codes
    std: Tensor

    def __init__(
        self,
        *,
        run: str,  # directory of the run that trained the stage
        shape: Sequence[PositiveInt],  # of a code
        levels: TwoOrMore | None,  # values that its entries can take; None: real numbers
        stage: nn.Module,  # Compresses and Encodes
        sha256: str,  # of the stage's weights
    ):
        super().__init__()
        self.run, self.sha256 = run, sha256
        self.stage: Any = stage.requires_grad_(False).eval()  # Any: to type checkers a Module's attributes are Tensors
        self.x, self.code = stage.x, stage.code  # type: ignore[assignment]
        assert (self.code.shape, self.code.levels) == (tuple(shape), levels)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def train(self, mode: bool = True) -> "OfRun":
        """The stage stays in eval mode."""
        super().train(mode)
        self.stage.eval()
        return self

    @torch.no_grad()
    def initialise(self, x: Batch, condition: Condition = NO_CONDITION) -> None:
        """Sets mean and std from the codes of the first batch, so that codes have a variance of about 1."""
        if self.code.levels is not None:
            return
        with seeded(0):  # the same on every process
            u, _ = self.stage.compress(x)
        self.mean.copy_(u.mean())
        self.std.copy_(u.std())

    @torch.no_grad()
    def encode(self, x: Batch, rng: Random = GLOBAL) -> tuple[Code, PerSample]:
        u, correction = self.stage.compress(x, rng)
        if self.code.levels is not None:
            return u, correction
        return (u - self.mean) / self.std, correction - self.code.dims * self.std.log()

    @torch.no_grad()
    def decode(self, u: Code, rng: Random = GLOBAL) -> Shaped[Tensor, " b *shape"]:
        code = u if self.code.levels is not None else u * self.std + self.mean
        return self.stage.decompress(code, rng)

    @torch.no_grad()
    def middle(self, x: Batch) -> Code:
        """The code of each sample without randomness."""
        u = self.stage.encode(x).view(-1, *self.code.shape)
        return u if self.code.levels is not None else (u - self.mean) / self.std

    def protocol(self) -> Protocol:
        return {"first_stage_sha256": self.sha256}
