"""The samples to complete or to translate: from the run's test split, or images from the user's own files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genmodels.data.base import Split
from genmodels.data.image_files import SUFFIXES, decode
from genmodels.data.pictures_on_disk import pictures_on_disk
from genmodels.engine.conditions import conditions
from genmodels.engine.score import spread_indices
from genmodels.errors import UserError
from genmodels.fields import Field
from genmodels.run.data import data_of, fields_of
from genmodels.trees import count, first, take
from genmodels.units import from_pixels


def originals(model: Any, config: Mapping[str, Any], node: Any) -> Tensor:
    """`n` images of the source domain, in data units: from the given files, or the first of the test split."""
    source = require_directions(config["source"], config["target"], model.domains)
    if config["images"] is not None:
        field = fields_of(node, config["trusted"])
        assert isinstance(field, Field)
        return given_images(Path(config["images"]).expanduser(), field, config["n"])
    x, condition = data_of(node, config["trusted"]).split("test")
    rows = torch.nonzero(condition["label"] == source).flatten()[: config["n"]]
    if not len(rows):
        raise UserError(f"the test split of the run's data has no images of domain {source}; give images=FOLDER")
    return take(x, rows)


def to_complete(model: Any, config: Mapping[str, Any], node: Any) -> Split:
    """`n` samples and their conditions: from the given files, or the first of the test split with their own."""
    field, n = fields_of(node, config["trusted"]), config["n"]
    if config["images"] is None:
        x, own = first(data_of(node, config["trusted"]).split("test"), n)
    elif isinstance(field, Field) and field.kind == "image":
        x, own = given_images(Path(config["images"]).expanduser(), field, n), None
    else:
        raise UserError(f"images={config['images']} is for images, and the model's samples are {field}; leave it out")
    if own is None or config["label"] is not None or config["condition"] is not None:
        return Split(x, conditions(model, {**config, "n": count(x)}, node))
    return Split(x, {name: own[name] for name in model.condition})


def require_directions(source: int | None, target: int | None, domains: int) -> int:
    """The source domain. UserError unless source and target are two different domains of the model."""
    for name, domain in (("source", source), ("target", target)):
        if domain is None or not 0 <= domain < domains:
            raise UserError(f"{name} is {domain}, expected a domain 0..{domains - 1} to translate")
    if source == target:
        raise UserError(f"source and target are both {source}, expected two domains; correct one of them")
    assert source is not None
    return source


def given_images(path: Path, field: Field, n: int) -> Tensor:
    """`n` images in data units: spread evenly over a folder or an .npz, or one image file."""
    if not path.exists():
        raise UserError(f"images={path} does not exist; give a folder of images, an .npz or an image file")
    if path.suffix.lower() in SUFFIXES and path.is_file():
        x = torch.from_numpy(decode(path, field.shape[0]).copy())[None]
    else:
        there = pictures_on_disk(path)
        x = there.read(spread_indices(min(n, len(there)), len(there)))
    if x.shape[1] == 1:
        x = x.expand(-1, field.shape[0], -1, -1)  # grey
    if tuple(x.shape[1:]) != field.shape:
        raise UserError(f"{path} has images of {list(x.shape[1:])}, expected {list(field.shape)}; resize them")
    assert field.levels is not None and count(x)
    return from_pixels(x, field.levels)
