"""Vector-quantized autoencoder (VQ-VAE; van den Oord et al. 2017, https://arxiv.org/abs/1711.00937): an image becomes
a map of indices of a codebook, which the model of another run can learn to draw (`genmodels.parts.of_run.OfRun`)."""

import torch
from torch import Tensor, nn

from genmodels.capabilities import NO_CONDITION, Batch, Compresses, Condition, Encodes, HasLoss, PerSample, Terms
from genmodels.context import Conditioner
from genmodels.errors import UserError
from genmodels.fields import Field
from genmodels.nn.shapes import CodeMaps, LatentMaps
from genmodels.nn.vae.maps import MapEncoder
from genmodels.parts.likelihoods import PixelLikelihood
from genmodels.parts.quantizers import EMACodebook
from genmodels.ranges import NonNegativeFloat
from genmodels.seeds import GLOBAL, Random
from genmodels.units import to_unit


class VQVAE(nn.Module, HasLoss, Encodes, Compresses):
    """-log p(x|e) + beta |z - sg[e]|² with z = encoder(x), (b, D, h', w'), and e the nearest vectors of the codebook,
    with a straight-through gradient (equation 3; a moving average replaces the codebook's own term).

    x determines its codes u, so log p(u) + log p(x|u) is a lower bound of log p(x) for every model p(u) of the codes.
    """

    def __init__(
        self,
        *,
        conditioner: Conditioner,  # without a condition: conditions belong to the model of the codes
        encoder: MapEncoder,  # x (b, c, h, w) on [-1, 1] -> (b, D, h', w')
        decoder: nn.Module,  # (b, D, h', w') -> parameters of the likelihood
        quantizer: EMACodebook,
        likelihood: PixelLikelihood,
        beta: NonNegativeFloat,  # weight of the commitment loss
    ):
        super().__init__()
        if beta < 0:
            raise UserError(f"model.beta is {beta}, expected 0 or more")
        if conditioner.fields:
            raise UserError(
                f"VQVAE takes no condition, and model/conditioner gives {', '.join(conditioner.fields)}; leave it out "
                "here and give it to the model of the codes"
            )
        self.encoder = encoder
        self.decoder = decoder
        self.quantizer = quantizer
        self.likelihood = likelihood
        self.beta = beta
        self.x = Field("image", encoder.shape, likelihood.levels)
        self.code = Field("tokens", encoder.map_shape[1:], quantizer.codes)

    def loss(self, x: Batch, condition: Condition = NO_CONDITION) -> Terms:
        """In nats, (b,): `distortion` is -log p(x|e), `commitment` the mean over places of |z - e|², `perplexity`
        the effective number of codes in the batch. In training this also updates the codebook."""
        assert isinstance(x, Tensor)
        quantized = self.quantizer(self.encoded(x))
        distortion = -self.likelihood.log_prob(self.decoder(quantized.maps), x)
        return {
            "loss": distortion + self.beta * quantized.distance,
            "distortion": distortion,
            "commitment": quantized.distance,
            "perplexity": quantized.perplexity.expand(len(distortion)),
        }

    @torch.no_grad()
    def encode(self, x: Batch, condition: Condition = NO_CONDITION) -> CodeMaps:
        """The indices in the codebook, (b, h', w')."""
        return self.quantizer.nearest(self.encoded(x)).to(self.code.dtype)

    @torch.no_grad()
    def decode(self, z: CodeMaps, condition: Condition = NO_CONDITION) -> Batch:
        """Mode of p(x|u), (b, c, h, w)."""
        return self.likelihood.mode(self.decoder(self.quantizer.look_up(z)))

    @torch.no_grad()
    def compress(self, x: Batch, rng: Random = GLOBAL) -> tuple[CodeMaps, PerSample]:
        """The codes u, and log p(x|u) in nats."""
        assert isinstance(x, Tensor)
        u = self.encode(x)
        return u, self.likelihood.log_prob(self.decoder(self.quantizer.look_up(u)), x)

    @torch.no_grad()
    def decompress(self, u: CodeMaps, rng: Random = GLOBAL) -> Batch:
        """x from p(x|u)."""
        return self.likelihood.sample(self.decoder(self.quantizer.look_up(u)), rng)

    def encoded(self, x: Batch) -> LatentMaps:
        assert isinstance(x, Tensor)
        return self.encoder(to_unit(x, self.likelihood.levels))
