"""How conditions enter a model: labels as one-hot vectors, images as maps.

For classifier-free guidance (Ho & Salimans 2022, https://arxiv.org/abs/2207.12598) conditions are dropped at random in
training, so that a model learns p(x) as well as p(x|c).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from genmodels.capabilities import Condition
from genmodels.context import Conditioner, Context, Sizes
from genmodels.errors import UserError
from genmodels.fields import Field
from genmodels.ranges import PositiveInt, ProbabilityBelowOne, TwoOrMore
from genmodels.seeds import Random
from genmodels.units import to_unit


def require_probability(drop: float) -> None:
    if not 0 <= drop < 1:
        raise UserError(f"model.conditioner.drop is {drop}, expected a probability in [0, 1)")


class Label(Conditioner):
    """A class label as a one-hot vector (b, classes + 1); the last entry means "no label".

    It has no weights: each network learns its own linear map of this vector.
    """

    origin: Tensor  # holds the device

    def __init__(
        self,
        *,
        classes: PositiveInt,  # labels are 0..classes-1
        sizes: Sizes,  # {"vector": classes + 1}
        drop: ProbabilityBelowOne,  # probability that a label is dropped in training; guidance needs more than 0
    ):
        super().__init__()
        require_probability(drop)
        assert dict(sizes) == {"vector": classes + 1}
        self.classes, self.sizes, self.drop = classes, sizes, drop
        self.fields = {"label": Field("label", (), classes)}
        self.register_buffer("origin", torch.zeros(()), persistent=False)

    def embed(self, condition: Condition) -> Context:
        return Context(vector=one_hot(condition["label"].long(), self.classes + 1).to(self.origin.dtype))

    def absent(self, n: int) -> Context:
        return self.embed({"label": torch.full((n,), self.classes, device=self.device)})

    def draw(self, n: int, rng: Random) -> Condition:
        return {"label": rng.integers(self.classes, n, self.device)}


class ImageMaps(Conditioner):
    """An image, resized to the size of the samples, as maps on [-1, 1], and a map of ones: there is a condition.

    This is the conditioning of super-resolution and colouring (Saharia et al. 2021, https://arxiv.org/abs/2104.07636).
    """

    origin: Tensor  # holds the device

    def __init__(
        self,
        *,
        field: str,  # name of the condition in the data
        shape: Sequence[PositiveInt],  # (c, h, w) of the condition
        levels: TwoOrMore,  # of the condition
        sample: Sequence[PositiveInt],  # (..., h, w), the shape of the samples
        sizes: Sizes,  # {"maps": c + 1}
        drop: ProbabilityBelowOne,  # probability that the image is dropped in training; guidance needs more than 0
    ):
        super().__init__()
        require_probability(drop)
        assert dict(sizes) == {"maps": shape[0] + 1}
        self.field, self.levels, self.size, self.sizes, self.drop = field, levels, tuple(sample[-2:]), sizes, drop
        self.fields = {field: Field("image", tuple(shape), levels)}
        self.register_buffer("origin", torch.zeros(()), persistent=False)

    def embed(self, condition: Condition) -> Context:
        image = to_unit(condition[self.field], self.levels).to(self.origin.dtype)
        if image.shape[2:] != self.size:
            image = interpolate(image, size=self.size, mode="bicubic", antialias=True)
        return Context(maps=torch.cat([image, torch.ones_like(image[:, :1])], dim=1))

    def absent(self, n: int) -> Context:
        return Context(maps=torch.zeros(n, self.sizes["maps"], *self.size, dtype=self.origin.dtype, device=self.device))

    def draw(self, n: int, rng: Random) -> Condition:
        raise UserError(
            f"this model is conditional on {self.field} ({self.fields[self.field]}), which cannot be made up; give "
            f"condition={{'{self.field}': ...}}"
        )


Vector = Float[Tensor, "b d"]


def join(h: Vector, context: Context) -> Float[Tensor, "b d_and_context"]:
    """A vector concatenated with the context's vector, if there is one."""
    return h if context.vector is None else torch.cat([h, context.vector.to(h.dtype)], dim=1)
