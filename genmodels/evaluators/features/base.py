"""The base class of feature extractors: pictures to features and class logits, identified by a hash of the weights."""

from abc import ABC, abstractmethod
from hashlib import sha256
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from genmodels.errors import UserError
from genmodels.evaluators.dataset import ImageDataset


class Extracted(NamedTuple):
    """Features, in which distances are measured, and logits of the class probabilities."""

    features: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]


class Features(ABC):
    """Extracts float32 features of pictures.

    It is not an nn.Module, so that a LightningModule or callback that holds it does not put its
    parameters into optimizers, checkpoints or averages.
    """

    name: str  # part of the metric's name; empty for the standard Inception
    resize: str  # how pictures are resized, as text
    dim: int  # d; known after `prepare`, as the next four
    classes: int  # k
    sha256: str  # hash of the weights
    facts: dict[str, Any]  # further entries of the protocol
    tells_labels: bool = False  # whether the logits predict the labels of the data

    @abstractmethod
    def prepare(self, data: ImageDataset, device: torch.device) -> None:
        """Prepares for pictures of `data` on `device`; all processes call it, more than once."""

    def check(self, data: ImageDataset) -> None:  # noqa: B027  most need nothing
        """UserError where it cannot be prepared for `data`, as far as one process can tell before the work."""

    @abstractmethod
    def forward(self, pixels: UInt8[Tensor, "b c h w"]) -> Extracted:
        """float32 features (b, d) and logits (b, k) of pictures in 0..255."""

    @torch.no_grad()
    def __call__(self, pixels: UInt8[Tensor, "b c h w"]) -> Extracted:
        """`forward` in float32 even under autocast; UserError where the features are not finite."""
        with torch.autocast(pixels.device.type, enabled=False):
            out = self.forward(pixels)
        if not all(t.isfinite().all() for t in out):
            raise UserError(f"features={self.name or 'inception'} gave NaN or infinity: check the extractor's weights")
        if not out.features.shape[1]:
            raise UserError(f"features={self.name} gave features of no dimensions, expected at least 1: change it")
        return out

    def protocol(self) -> dict[str, Any]:
        """The part of the protocol about features."""
        return {"features": self.name, "features_sha256": self.sha256, "resize": self.resize, **self.facts}


def weights_sha256(weights: dict[str, Tensor]) -> str:
    """Hash of names, types, shapes and values of a state dict, independent of order and file format."""
    digest = sha256()
    for name, w in sorted(weights.items()):
        digest.update(f"{name} {w.dtype} {tuple(w.shape)}\n".encode())
        digest.update(
            w.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        )  # as bytes, since numpy has no bfloat16
    return digest.hexdigest()
