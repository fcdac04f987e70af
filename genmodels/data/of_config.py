"""The dataset of a config that came in a file, and what its samples are, without reading any data."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from hydra.utils import instantiate

from genmodels.data.base import Data, kind_of
from genmodels.errors import UserError
from genmodels.fields import Field, Fields
from genmodels.trust import OURS, require_trusted


def data_of(node: Mapping[str, Any], trusted: Sequence[str]) -> Data:
    """The dataset that a config's `data` describes; nothing is read yet. UserError where it may not be built."""
    require_trusted(node, (*OURS, *trusted))
    return cast(Data, instantiate(node, _convert_="all"))


def fields_of(node: Any, trusted: Sequence[str]) -> Field | Fields:
    """What the samples of a config's `data` are: as the dataset says, or, where its class may not be built, as the
    facts in the config suggest."""
    if not isinstance(node, Mapping) or not isinstance(node.get("shape"), list) or "levels" not in node:
        raise UserError("the config has no data with a shape and levels; give a run or an export that genmodels wrote")
    try:
        require_trusted(node, (*OURS, *trusted))
    except UserError:
        shape, levels = tuple(node["shape"]), node["levels"]
        return Field(kind_of(shape, levels), shape, levels, node.get("vocabulary"))
    return data_of(node, trusted).x
