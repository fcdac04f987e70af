"""Kinds of samples by name: how each is shown and saved. Samples of any other kind are saved as arrays."""

from genmodels.fields import Field, Fields, KindName
from genmodels.kinds.base import Kind
from genmodels.kinds.image import Image
from genmodels.kinds.points import Points
from genmodels.kinds.tokens import Tokens

KINDS: dict[KindName, type[Kind]] = {"image": Image, "points": Points, "tokens": Tokens}


def kind_of(of: Field | Fields) -> Kind:
    """The kind of the samples of this field, or of these fields."""
    kind = KINDS.get(of.kind, Kind) if isinstance(of, Field) else Kind
    return kind(of) if isinstance(of, Field) and kind.suits(of) else Kind(of)
