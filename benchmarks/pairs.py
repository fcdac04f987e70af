"""The pieces of work of `genmodels benchmark`, each as genmodels does it and as the plainest code, or a peer, does."""

import torch

from benchmarks import evaluation, features, loading, peers, processes, sampling, unet
from benchmarks.pair import OnDevice
from benchmarks.training import training

# Seconds of training each.
PAIRS: dict[str, OnDevice] = {
    "vae_mlp": training("model=vae_mlp", cpu=600, cuda=2000),
    "vae": training("model=vae", cpu=60, cuda=1500),
    "pixelcnn": training("model=pixelcnn", cpu=20, cuda=300),
    "realnvp": training("model=realnvp", cpu=10, cuda=100),
    "dcgan": training("model=dcgan", cpu=60, cuda=1000),
    "ddpm": training("model=ddpm", cpu=8, cuda=200),
    "small_step": training("experiment=vae_mnist_dynamic", "data.batch_size=20", cpu=1500, cuda=2000),
    "vae_mlp_eager": training("model=vae_mlp", slower=("optimizer.fused=false",), cpu=600, cuda=2000),
    "vae_mlp_compiled": training(
        "model=vae_mlp", "compile=true", slower=("optimizer.fused=false",), cpu=600, cuda=2000
    ),
    "unet_diffusers": unet.beside_diffusers(torch.float32),
    "unet_diffusers_bf16": unet.beside_diffusers(torch.bfloat16),
    "unet_matmul": unet.beside_matmuls(torch.float32),
    "unet_matmul_bf16": unet.beside_matmuls(torch.bfloat16),
    "vae_pythae": peers.beside("pythae"),
    "vae_lightning": peers.beside("lightning"),
    "memory": processes.memory,
    "two_processes": processes.two_processes,
    "startup": processes.startup,
    "loading": loading.loading,
    "mapped": loading.mapped,
    "sampler": sampling.sampler,
    "sampling": sampling.sampling,
    "inception": features.inception,
    "evaluation": evaluation.evaluation,
}
