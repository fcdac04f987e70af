"""What `genmodels benchmark` times, and the goals: how many times as fast, or as small, ours should be.

Nothing heavy is imported here, so that `--help` answers at once.
"""

from collections.abc import Mapping
from typing import NamedTuple

CPU, CUDA = "cpu", "cuda"
DEVICES = (CPU, CUDA)


class Work(NamedTuple):
    """What is laid beside what."""

    text: str
    goals: Mapping[str, float | None]  # on each device on which it is timed; None: no goal
    peer: str | None = None  # the package that it needs beside our own
    bf16: bool = False  # whether the machine must compute in bfloat16


def steps_of(model: str, on_gpu: float = 0.95) -> Work:
    return Work(f"steps of {model} on the digits: ours beside a loop written by hand", {CPU: 0.97, CUDA: on_gpu})


UNET = "steps of DDPM's U-Net of 35.7 M parameters on 3x32x32"
MLP = "steps of a VAE of 784-200-200-50 on 128 images"

WORKS = {
    **{model: steps_of(model) for model in ("vae_mlp", "vae", "pixelcnn", "realnvp", "dcgan")},
    "ddpm": steps_of("ddpm", on_gpu=0.97),
    "small_step": Work(
        "steps of a VAE of 784-200-200-50 on 20 images: ours beside a loop written by hand", {CPU: 0.9, CUDA: 0.9}
    ),
    "vae_mlp_eager": Work(
        "steps of vae_mlp on the digits: ours beside a loop with an Adam that is not fused", {CPU: 1.2, CUDA: 1.5}
    ),
    "vae_mlp_compiled": Work(
        "steps of vae_mlp on the digits with compile=true: ours beside a loop with an Adam that is not fused",
        {CPU: 1.2, CUDA: 1.5},
    ),
    "unet_diffusers": Work(f"{UNET}: ours beside diffusers' UNet2DModel", {CPU: 1.0, CUDA: None}, "diffusers"),
    "unet_diffusers_bf16": Work(
        f"{UNET} in bfloat16: ours beside diffusers' UNet2DModel", {CPU: 1.5, CUDA: 1.3}, "diffusers", bf16=True
    ),
    "unet_matmul": Work(f"{UNET}: ours beside as many operations in matmuls", {CPU: 0.65, CUDA: None}),
    "unet_matmul_bf16": Work(
        f"{UNET} in bfloat16: ours beside as many operations in matmuls", {CPU: 0.65, CUDA: 0.45}, bf16=True
    ),
    "vae_pythae": Work(f"{MLP}: ours beside pythae's trainer", {CPU: 1.35, CUDA: None}, "pythae"),
    "vae_lightning": Work(f"{MLP}: ours beside a plain LightningModule and DataLoader", {CPU: 1.2, CUDA: None}),
    "memory": Work("peak memory of a training: ours beside a loop written by hand", {CPU: 0.95, CUDA: 0.95}),
    "two_processes": Work("images of vae with one thread a process: two processes beside one", {CPU: 1.8}),
    "startup": Work("the first step from the shell: ours beside importing torch and Lightning", {CPU: 0.8}),
    "loading": Work("10 epochs of 60,000 images of 28x28: ours beside index_select", {CPU: 0.95, CUDA: None}),
    "mapped": Work("10 epochs of 60,000 images of 3x32x32 from a file: ours beside a memmap", {CPU: 0.9, CUDA: None}),
    "sampler": Work("16 digits from DDPM: ours beside as many passes of the network", {CPU: 0.97, CUDA: 0.97}),
    "sampling": Work(
        "16 images of 3x32x32 from a PixelCNN: ours, with a cache, beside a pass for each value, of which 1 in 1024 is "
        "timed",
        {CPU: 100.0, CUDA: 100.0},
    ),
    "inception": Work(
        "Inception features of 32 pictures of 32x32: ours beside published code's", {CPU: 1.6, CUDA: 1.5}
    ),
    "evaluation": Work(
        "FID of 10,000 digits, reference known: ours beside sampling and features alone", {CPU: 0.95, CUDA: 0.95}
    ),
}
