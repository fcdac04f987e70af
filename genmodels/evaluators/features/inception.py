"""The features of FID, KID, Inception Score, precision and recall in papers.

They are the 2048 averaged activations before the last layer of FID's Inception network, and its logits
without the bias. Pictures are resized to 299x299 as in TensorFlow 1 and scaled to (x - 128)/128.
"""

from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import pad

from genmodels.errors import UserError
from genmodels.evaluators.dataset import ImageDataset
from genmodels.evaluators.distributed import from_rank_zero
from genmodels.evaluators.features import weights as files
from genmodels.evaluators.features.base import Extracted, Features
from genmodels.evaluators.features.folding import checked_layout, folded
from genmodels.evaluators.features.inception_network import InceptionNetwork
from genmodels.evaluators.features.precision import float32_convolutions
from genmodels.evaluators.features.resize import bilinear_of_tensorflow_1
from genmodels.ranges import PositiveInt

INPUT_SIZE = 299


class Inception(Features):
    """FID's Inception network; grey pictures become three equal channels.

    Its name, a part of the metric's name, is empty for the published weights in float32, and has
    `custom` or `bf16` for other weights or bfloat16.
    """

    resize = f"{INPUT_SIZE}x{INPUT_SIZE}, TensorFlow 1 bilinear"
    dim = 2048
    classes = 1008

    def __init__(
        self,
        *,
        weights: str | None,  # file; None: in the cache directory, downloaded if it is missing
        sha256: Literal["published", "any"],  # the required hash of the file
        dtype: Literal["float32", "bfloat16"],  # of the convolutions
        batch: PositiveInt,  # pictures in one call of the network
    ):
        if batch < 1:
            raise UserError(f"got features.batch={batch}, expected at least 1: raise it")
        self.weights = weights
        self.published = sha256 == "published"
        self.dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
        self.batch = batch
        self.name = "_".join(["custom"] * (sha256 == "any") + ["bf16"] * (dtype == "bfloat16"))
        self.facts = {"features": "inception", "features_weights": sha256, "features_dtype": dtype}
        self.sha256 = ""

    @torch.inference_mode(False)
    def prepare(self, data: ImageDataset, device: torch.device) -> None:
        """Finds the weights on rank 0, and sends them to every process, once."""
        if not self.sha256:
            state, self.sha256 = from_rank_zero(self.load)
            self.network = skeleton().eval()
            self.network.load_state_dict(state, assign=True)
            self.network.requires_grad_(False).trunk.to(self.dtype)
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def check(self, data: ImageDataset) -> None:
        files.verified(files.find_weights(self.weights), self.published)

    def load(self) -> tuple[dict[str, Tensor], str]:
        """The state of the network and the hash of its file."""
        path = files.find_weights(self.weights)
        sha256 = files.verified(path, self.published)
        network = skeleton()
        return folded(checked_layout(files.read_tensors(path), network, str(path)), network), sha256

    def forward(self, pixels: UInt8[Tensor, "b c h w"]) -> Extracted:
        if pixels.shape[1] not in (1, 3):
            raise UserError(
                f"got pictures of {pixels.shape[1]} channels, expected 1 or 3 for features=inception: "
                "choose features=classifier"
            )
        with float32_convolutions():
            parts = [self.part(part) for part in pixels.split(self.batch)]
        return Extracted(*map(torch.cat, zip(*parts, strict=True)))

    def part(self, pixels: UInt8[Tensor, "b c h w"]) -> Extracted:
        """Features of at most `batch` pictures, padded to `batch`: the number of pictures changes nothing."""
        filled = pad(pixels, (0, 0, 0, 0, 0, 0, 0, self.batch - len(pixels)))
        u = (bilinear_of_tensorflow_1(filled.float(), INPUT_SIZE) - 128) / 128
        u = u.expand(-1, 3, -1, -1).to(self.dtype).contiguous(memory_format=torch.channels_last)
        return Extracted(*(t[: len(pixels)] for t in self.network(u)))


def skeleton() -> InceptionNetwork:
    """The network without weights."""
    with torch.device("meta"):
        return InceptionNetwork()
