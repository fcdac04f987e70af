"""What `samples=`, `reference=` and `classifier_data=` name: images on disk, a dataset, or statistics."""

from pathlib import Path
from typing import Any

import torch

from genmodels.config.compose import option, options
from genmodels.config.messages import suggestion
from genmodels.data.pictures_on_disk import ArrayPictures, PicturesOnDisk, pictures_on_disk
from genmodels.engine import build
from genmodels.errors import UserError
from genmodels.evaluators import dataset
from genmodels.evaluators.evaluate import prepared_features
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.features.classifier import Classifier
from genmodels.evaluators.pictures import PictureSet, SplitPictures, WithChannels
from genmodels.evaluators.reference import Statistics, statistics_in
from genmodels.run.data import placed


def images_to_score(name: str) -> PicturesOnDisk:
    """The images to score."""
    path = Path(name).expanduser()
    if not path.exists():
        raise UserError(f"samples={name} does not exist; give a folder of images or an .npz file")
    return pictures_on_disk(path)


def reference(config: dict[str, Any]) -> tuple[PictureSet | Statistics, dataset.ImageDataset | None]:
    """The reference that samples are compared with, and its images as a dataset; None where it is only statistics."""
    name, split = config["reference"], config["reference_split"]
    path = Path(name).expanduser()
    if name in options("data"):
        data = named_data(name, "reference", config)
        return SplitPictures(data, split or "train"), data
    if not path.exists():
        raise UserError(
            f"reference={name} is neither a dataset ({suggestion(name, options('data'))}) nor an existing folder or "
            ".npz file"
        )
    if split is not None:
        raise UserError(f"reference_split={split} is for a dataset, and reference={name} has no splits; leave it out")
    if path.is_file() and (statistics := statistics_in(path)):
        return statistics, None
    pictures = pictures_on_disk(path)
    return pictures, pictures


def image_count(source: PictureSet | Statistics, unknown: int) -> int:
    """The number of images; `unknown` for statistics."""
    return unknown if isinstance(source, Statistics) else len(source)


def named_data(name: str, key: str, config: dict[str, Any]) -> Any:
    """The dataset of that name, with its files below `data.root` if that is set."""
    if name not in options("data"):
        raise UserError(f"{key}={name} is not a dataset; {suggestion(name, options('data'))}")
    node = option("data", name)
    if open_keys := [given for given, value in node.items() if value == "???"]:
        raise UserError(
            f"{key}={name} needs data.{open_keys[0]}; give the folder or the .npz file itself: reference=PATH"
        )
    return build.instance(placed(node, {"root": config["data"]["root"]}))


def refuse_data_units(pictures: PicturesOnDisk, data: dataset.ImageDataset | None) -> None:
    """UserError where an .npz has values in a dataset's few levels, which would be read as nearly black images."""
    levels = data.levels if data else None
    if isinstance(pictures, ArrayPictures) and not pictures.declared and levels and pictures.largest < levels < 256:
        raise UserError(
            f"{pictures.name} has values up to {pictures.largest}, like the {levels} levels of the reference, expected "
            f"images in 0..255; add an array levels={levels} to the file, or scale its values"
        )


def feature_data(
    features: Features, config: dict[str, Any], pictures: PicturesOnDisk, data: dataset.ImageDataset | None
) -> dataset.ImageDataset:
    """The images that features are prepared for: the side with more channels, or a classifier's training data."""
    name = config["classifier_data"]
    if not isinstance(features, Classifier):
        if name is not None:
            raise UserError(
                f"classifier_data={name} is for features=classifier, and other features are chosen; leave it out"
            )
        return data if data is not None and data.shape[0] > pictures.shape[0] else pictures
    if name is not None:
        return named_data(name, "classifier_data", config)
    if data is None:
        raise UserError(
            f"features=classifier learns from images, and {config['reference']} has none: give classifier_data=DATASET "
            f"({', '.join(options('data'))}), or features=inception"
        )
    return data


def prepare_sides(
    features: Features,
    config: dict[str, Any],
    pictures: PicturesOnDisk,
    against: PictureSet | Statistics,
    data: dataset.ImageDataset | None,
    device: torch.device,
) -> tuple[PictureSet, PictureSet | Statistics]:
    """Prepares the features, and returns both sides in the form that the features take."""
    made = feature_data(features, config, pictures, data)
    prepared_features(features, made, device)
    fitting = against if isinstance(against, Statistics) else fitted_to_features(against, features, made)
    return fitted_to_features(pictures, features, made), fitting


def fitted_to_features(pictures: PictureSet, features: Features, data: dataset.ImageDataset) -> PictureSet:
    """The pictures in the form that prepared features take: with the channels of `data`. UserError where they have
    another size and the features do not resize."""
    if features.resize == "none" and pictures.shape[1:] != tuple(data.shape[1:]):
        h, w = pictures.shape[1:]
        raise UserError(
            f"{pictures.name} has images of {h}x{w}, and {data.name}, which the features are prepared for, of "
            f"{data.shape[1]}x{data.shape[2]} (height x width); resize them, or choose features=inception"
        )
    return WithChannels(pictures, data.shape[0])
