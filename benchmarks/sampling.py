"""Samples as genmodels draws them, beside the passes of the network that they need."""

import time
from functools import partial

import torch

from benchmarks.pair import Pair, Piece
from benchmarks.training import config_of
from genmodels.context import NO_CONTEXT
from genmodels.engine import build
from genmodels.models.autoregressive import Autoregressive
from genmodels.models.diffusion import Diffusion
from genmodels.seeds import seeded

DRAWN, NOISE_STEPS, PART = 16, 20, 1024


def sampler(device: torch.device) -> Pair:
    """DDIM, beside as many passes of its network."""
    with seeded(0):
        model = build.instance(config_of("model=ddpm", f"sampler.steps={NOISE_STEPS}")["model"]).eval().to(device)
    return Pair(DRAWN * NOISE_STEPS, partial(passes, model, device), lambda: partial(model.sample, DRAWN))


def passes(model: Diffusion, device: torch.device) -> Piece:
    x = torch.randn(DRAWN, *model.space.code.shape, device=device)
    t = torch.full((DRAWN,), 500, device=device)

    @torch.no_grad()
    def work() -> None:
        for _ in range(NOISE_STEPS):
            model.network(x, t, NO_CONTEXT)

    return work


def sampling(device: torch.device) -> Pair:
    """A PixelCNN with a cache, beside a full pass for each value of an image."""
    with seeded(0):
        model = build.instance(config_of("experiment=cifar10_pixelcnn_short")["model"]).eval().to(device)
    return Pair(DRAWN, partial(pass_for_each_value, model, device), lambda: partial(model.sample, DRAWN))


def pass_for_each_value(model: Autoregressive, device: torch.device) -> Piece:
    """All passes take the same time: 1 in 1024 is timed, and the time of all is returned."""
    x = torch.zeros(DRAWN, *model.space.code.shape, dtype=torch.uint8, device=device)

    @torch.no_grad()
    def work() -> float:
        start = time.perf_counter()
        for _ in range(x[0].numel() // PART):
            model.network(x, NO_CONTEXT).sum().item()  # waits for the device, as who draws a value does
        return (time.perf_counter() - start) * PART

    return work
