"""The dataset of a config from a file, and the fields of its samples, without reading any data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from hydra.utils import instantiate

from genmodels.data.base import Data, default_kind
from genmodels.errors import UserError
from genmodels.fields import Field, Fields
from genmodels.run.trust import OWN_PACKAGES, require_trusted


def data_of(node: Mapping[str, Any], trusted: Sequence[str]) -> Data:
    """The dataset that a config's `data` describes, not read yet. UserError where its class is not trusted."""
    require_trusted(node, (*OWN_PACKAGES, *trusted))
    return cast(Data, instantiate(node, _convert_="all"))


def placed(node: Mapping[str, Any], places: Mapping[str, str | None]) -> dict[str, Any]:
    """A dataset's node with these paths for its files and those of datasets within it; None: the path stays as it is.

    Several datasets can share a root. UserError where several datasets have the key of another path.
    """
    for key in places.keys() - {"root"}:
        if places[key] and (several := [*_holders(node, key, "data")])[1:]:
            raise UserError(f"data.{key} is one path, and the data have several ({', '.join(several)}); leave it out")
    return _placed(node, {key: place for key, place in places.items() if place})


def _holders(node: Mapping[str, Any], key: str, at: str) -> Iterator[str]:
    """The dotted keys of all datasets in a node that have this key."""
    if key in node:
        yield f"{at}.{key}"
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from _holders(value, key, f"{at}.{name}")


def _placed(node: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    inner = {key: _placed(value, places) for key, value in node.items() if isinstance(value, Mapping)}
    return {**node, **inner, **{key: place for key, place in places.items() if key in node}}


def fields_of(node: Any, trusted: Sequence[str]) -> Field | Fields:
    """The fields of the samples of a config's `data`: from the dataset, or from shape and levels in the config where
    the class is not trusted."""
    if not isinstance(node, Mapping) or not isinstance(node.get("shape"), list) or "levels" not in node:
        raise UserError("the config has no data with a shape and levels; give a run or an export that genmodels wrote")
    try:
        require_trusted(node, (*OWN_PACKAGES, *trusted))
    except UserError:
        shape, levels = tuple(node["shape"]), node["levels"]
        return Field(default_kind(shape, levels), shape, levels, node.get("vocabulary"))
    return data_of(node, trusted).x
