"""Training steps of DDPM's U-Net for CIFAR-10, beside diffusers' of the same size, and beside the machine's limit."""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.pair import OnDevice, Pair, Piece
from benchmarks.training import config_of
from genmodels.context import NO_CONTEXT
from genmodels.engine import build
from genmodels.errors import UserError

SHAPE, PARAMETERS = (3, 32, 32), 35_746_307
STEPS, BATCH = {"cpu": 1, "cuda": 20}, {"cpu": 4, "cuda": 128}
SIDE, PRODUCTS = {"cpu": 2048, "cuda": 8192}, 10  # of the matrices that are multiplied
Step = Callable[[Tensor, Tensor], Tensor]  # noisy images and times to the noise


def beside_diffusers(dtype: torch.dtype) -> OnDevice:
    """Both networks with the same loss and optimizer."""

    def pair(device: torch.device) -> Pair:
        images = STEPS[device.type] * BATCH[device.type]
        ways = (partial(steps_of, make, device, dtype) for make in (diffusers_unet, our_unet))
        return Pair(images, *ways, rounds=3)

    return pair


def beside_matmuls(dtype: torch.dtype) -> OnDevice:
    """Our network, and as many operations in matmuls."""

    def pair(device: torch.device) -> Pair:
        images = STEPS[device.type] * BATCH[device.type]
        ours = partial(steps_of, our_unet, device, dtype)
        return Pair(images, partial(as_matmuls, ours, device, dtype), ours, rounds=3)

    return pair


def our_unet() -> tuple[nn.Module, Step]:
    network = build.instance(config_of("experiment=ddpm_cifar10")["model"]).network
    return network, lambda x, t: network(x, t, NO_CONTEXT)


def diffusers_unet() -> tuple[nn.Module, Step]:
    from diffusers import UNet2DModel

    network = UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        block_out_channels=(128, 256, 256, 256),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=256,  # one head
        norm_num_groups=32,
        dropout=0.1,
    )
    return network, lambda x, t: network(x, t).sample


def steps_of(make: Callable[[], tuple[nn.Module, Step]], device: torch.device, dtype: torch.dtype) -> Piece:
    """Forward and backward passes and steps of Adam."""
    network, denoise = make()
    require_size(network)
    optimizer = torch.optim.Adam(network.train().to(device).parameters(), lr=2e-4, fused=True)
    x, noise = torch.randn(2, BATCH[device.type], *SHAPE, device=device)
    t = torch.randint(1000, x.shape[:1], device=device)

    def work() -> None:
        for _ in range(STEPS[device.type]):
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                loss = (denoise(x, t) - noise).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return work


def require_size(network: nn.Module) -> None:
    """UserError where a network is not as large as that of the paper, such as one of another version of diffusers."""
    if abs((n := sum(p.numel() for p in network.parameters())) / PARAMETERS - 1) > 0.01:
        raise UserError(f"{type(network).__name__} has {n:,} parameters, expected {PARAMETERS:,}; leave it out")


def as_matmuls(steps: Callable[[], Piece], device: torch.device, dtype: torch.dtype) -> Piece:
    """The time of some matmuls, by which that of as many operations as those of the steps is returned."""
    side, counter = SIDE[device.type], FlopCounterMode(display=False)
    a, b = torch.randn(2, side, side, device=device, dtype=dtype)
    with counter:
        steps()()
    share = counter.get_total_flops() / (PRODUCTS * 2 * side**3)

    def work() -> float:
        start = time.perf_counter()
        for _ in range(PRODUCTS):
            product = a @ b
        product.sum().item()  # waits for the device
        return (time.perf_counter() - start) * share

    return work
