"""Names for shapes of tensors that several modules have."""

from jaxtyping import Float, Integer
from torch import Tensor

Maps = Float[Tensor, "b c h w"]  # images or features
LatentMaps = Float[Tensor, "b d h_code w_code"]  # a vector for each place of a code
CodeMaps = Integer[Tensor, "b h_code w_code"]  # an index of a codebook for each place
PerDraw = Float[Tensor, "k b"]  # a number for each of k draws for each sample
