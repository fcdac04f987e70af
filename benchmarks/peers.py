"""Training of the VAE of 784-200-200-50 on binary images, beside other trainers."""

import tempfile
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.pair import OnDevice, Pair, Piece
from benchmarks.training import ACCELERATORS, config_of, data_of, fit, silence
from genmodels.capabilities import HasLoss
from genmodels.engine import build

BATCH, STEPS = 128, {"cpu": 500, "cuda": 2000}
MODEL = ("experiment=vae_mnist_dynamic", f"data.batch_size={BATCH}", "scheduler=constant")
WIDTHS, LATENTS = (784, 200, 200), 50


def beside(peer: str) -> OnDevice:
    """One epoch of the same images by a peer's trainer and by genmodels."""

    def pair(device: torch.device) -> Pair:
        steps = STEPS[device.type]
        config = config_of(*MODEL, steps=steps, device=device.type)
        data = data_of(config, steps * BATCH)
        x = data.training_split().x
        return Pair(steps, partial(PEERS[peer], x, config, device), lambda: partial(fit, config, data))

    return pair


class Plain(pl.LightningModule):
    """As Lightning's documentation trains a module."""

    def __init__(self, model: HasLoss, lr: float):
        super().__init__()
        self.model, self.lr = model, lr

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        loss = self.model.loss(batch[0], {})["loss"].mean()
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def lightning(x: Tensor, config: dict[str, Any], device: torch.device) -> Piece:
    """Lightning's own logger, checkpoints and progress bar."""
    loader = DataLoader(TensorDataset(x), BATCH, shuffle=True)

    def work() -> None:
        with silence(), tempfile.TemporaryDirectory() as folder:
            where: dict[str, Any] = {"accelerator": ACCELERATORS[device.type], "devices": 1, "default_root_dir": folder}
            trainer = pl.Trainer(max_epochs=1, **where)
            trainer.fit(Plain(build.model(config, fresh=True), config["optimizer"]["lr"]), loader)

    return work


def pythae(x: Tensor, config: dict[str, Any], device: torch.device) -> Piece:
    """pythae's VAE with the same layers."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    images = BaseDataset(x.float(), torch.zeros(len(x)))
    size = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENTS, reconstruction_loss="bce")

    def work() -> None:
        with silence(), tempfile.TemporaryDirectory() as folder:
            how: dict[str, Any] = {"output_dir": folder, "no_cuda": device.type == "cpu", "num_epochs": 1}
            how |= {"per_device_train_batch_size": BATCH, "learning_rate": config["optimizer"]["lr"]}
            encoder, decoder = pythae_networks()
            model = VAE(size, encoder=encoder, decoder=decoder)
            BaseTrainer(model, images, training_config=BaseTrainerConfig(**how)).train()

    return work


def pythae_networks() -> tuple[nn.Module, nn.Module]:
    """784-200-200-50 and back, in pythae's words."""
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = tanh_layers(*WIDTHS)
            self.mean, self.log_variance = nn.Linear(WIDTHS[-1], LATENTS), nn.Linear(WIDTHS[-1], LATENTS)

        def forward(self, x: Tensor) -> ModelOutput:
            h = self.layers(x.flatten(1))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(tanh_layers(LATENTS, *WIDTHS[:0:-1]), nn.Linear(WIDTHS[1], WIDTHS[0]))

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.layers(z).sigmoid().unflatten(1, (1, 28, 28)))

    return Encoder(), Decoder()


def tanh_layers(*widths: int) -> nn.Sequential:
    pairs = zip(widths, widths[1:], strict=False)
    return nn.Sequential(*(layer for a, b in pairs for layer in (nn.Linear(a, b), nn.Tanh())))


PEERS = {"lightning": lightning, "pythae": pythae}
