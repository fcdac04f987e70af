"""Any nn.Module as a feature extractor, such as your own network or one of another package."""

from hashlib import sha256

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from genmodels.errors import UserError
from genmodels.evaluators.dataset import ImageDataset
from genmodels.evaluators.distributed import from_rank_zero
from genmodels.evaluators.features.base import Extracted, Features, weights_sha256


class AnyModule(Features):
    """A module from pictures (b, c, h, w), uint8 in 0..255, to features (b, d), or to a pair with logits (b, k).

    The module resizes and scales, and runs in eval mode with rank 0's weights, whose hash is in the protocol.
    """

    resize = "the module's own"

    def __init__(
        self,
        *,
        name: str,  # part of the metric's name, fid_<name>_10k
        module: nn.Module,
    ):
        if not name.isidentifier():
            raise UserError(f"got features.name={name!r}, expected letters, digits and _: name the extractor")
        self.name = name
        self.module = module
        self.facts = {"features_module": class_name(module), "features_settings_sha256": settings_sha256(module)}
        self.sha256 = ""

    @torch.inference_mode(False)
    @torch.no_grad()
    def prepare(self, data: ImageDataset, device: torch.device) -> None:
        """Sends rank 0's weights to every process, once."""
        if not self.sha256:
            self.module.load_state_dict(from_rank_zero(self.module.state_dict))
            self.sha256 = weights_sha256(self.module.state_dict())
        self.module.to(device)
        self.check(data)

    @torch.no_grad()
    def check(self, data: ImageDataset) -> None:
        """Finds d and k with two black pictures of the data's shape."""
        self.module.eval().requires_grad_(False)
        device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        black = self.forward(torch.zeros(2, *data.shape, dtype=torch.uint8, device=device))
        self.dim, self.classes = black.features.shape[1], black.logits.shape[1]

    def forward(self, pixels: UInt8[Tensor, "b c h w"]) -> Extracted:
        """Logits are (b, 0) where the module gives none."""
        out = self.module(pixels)
        features, logits = out if isinstance(out, tuple) and len(out) == 2 else (out, pixels.new_zeros(len(pixels), 0))
        return Extracted(self.matrix(features, len(pixels)), self.matrix(logits, len(pixels)))

    def matrix(self, x: object, b: int) -> Tensor:
        """`x` in float32, if it is of shape (b, d)."""
        if not isinstance(x, Tensor) or x.ndim != 2 or len(x) != b:
            got = f"a tensor of shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise UserError(
                f"features={self.name} gave {got} for {b} pictures, expected features ({b}, d), or a pair of these "
                f"and logits ({b}, k): change the module's forward"
            )
        return x.float()


def class_name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def settings_sha256(module: nn.Module) -> str:
    """Hash of a module apart from its weights: classes, the repr of layers, plain attributes."""
    digest = sha256(repr(module).encode())
    for name, each in module.named_modules():
        plain = {k: v for k, v in vars(each).items() if k != "training" and isinstance(v, int | float | str)}
        digest.update(f"{name} {class_name(each)} {sorted(plain.items())}\n".encode())
    return digest.hexdigest()
