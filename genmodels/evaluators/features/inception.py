"""The features that FID, KID, Inception Score, precision and recall are measured with in papers.

The 2048 averaged activations before the classes of FID's Inception network, and its logits without
the bias, of pictures that are resized to 299x299 as TensorFlow 1 does and scaled to (x - 128)/128.
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
    """FID's Inception network; grey pictures are three equal channels.

    Its name, which stands in the metric's name, is empty for the published weights in float32 and
    says `custom` or `bf16` where that is not what is measured with.
    """

    resize = f"{INPUT_SIZE}x{INPUT_SIZE}, TensorFlow 1 bilinear"
    dim = 2048
    classes = 1008

    def __init__(
        self,
        *,
        weights: str | None,  # file; None: in the cache directory, downloaded where it is not there
        sha256: Literal["published", "any"],  # what the file's hash must be
        dtype: Literal["float32", "bfloat16"],  # of the convolutions
        batch: PositiveInt,  # pictures that the network is given at once
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
        """Finds the weights on rank 0, and gives them to every process, once."""
        if not self.sha256:
            state, self.sha256 = from_rank_zero(self.load)
            self.network = skeleton().eval()
            self.network.load_state_dict(state, assign=True)
            self.network.requires_grad_(False).trunk.to(self.dtype)
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def check(self, data: ImageDataset) -> None:
        files.verified(files.find_weights(self.weights), self.published)

    def load(self) -> tuple[dict[str, Tensor], str]:
        """The network's state and the hash of the file that it is from."""
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
        """Of at most `batch` pictures, filled up to so many: what comes with a picture does not change its features."""
        filled = pad(pixels, (0, 0, 0, 0, 0, 0, 0, self.batch - len(pixels)))
        u = (bilinear_of_tensorflow_1(filled.float(), INPUT_SIZE) - 128) / 128
        u = u.expand(-1, 3, -1, -1).to(self.dtype).contiguous(memory_format=torch.channels_last)
        return Extracted(*(t[: len(pixels)] for t in self.network(u)))


def skeleton() -> InceptionNetwork:
    """The network without weights."""
    with torch.device("meta"):
        return InceptionNetwork()
