"""Which tokens a token attends to: all before it, or few of them, as in Sparse Transformers.

Source: Child et al. 2019 (https://arxiv.org/abs/1904.10509), section 4; `strided` is their two strided patterns in one
head, the "merged" head of section 5.1. For images whose `window` is a row it is the row and the column of a pixel.
"""

from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from genmodels.errors import UserError

AttentionName = Literal["full", "local", "strided"]


def attention_mask(attention: AttentionName, window: int | None, tokens: int) -> Bool[Tensor, "t t"] | None:
    """True where the token of the row attends to that of the column; None: to itself and to all before it."""
    if (attention == "full") != (window is None):
        wanted = "leave window at null" if window else "give model.network.window, a number of tokens"
        raise UserError(f"the transformer got attention={attention} and window={window}; {wanted}")
    if window is None:
        return None
    gap = torch.arange(tokens)[:, None] - torch.arange(tokens)
    seen = (gap < window) | (gap % window == 0) if attention == "strided" else gap < window
    return seen & (gap >= 0)
