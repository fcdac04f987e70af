"""The classifier as a feature extractor: cached, deterministic, known by its hash."""

import hashlib
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn

from genmodels.disk import user_cache
from genmodels.errors import UserError
from genmodels.evaluators.features import cache
from genmodels.evaluators.features.base import weights_sha256
from genmodels.evaluators.features.classifier import Classifier, turned

CPU = torch.device("cpu")


class Stripes:
    """8x8 images of 17 levels: noise with a bright row in the label's place, 4 labels."""

    name = "stripes"
    shape = (1, 8, 8)
    levels = 17
    prepared = None

    def __init__(self, classes=4, seed=0):
        self.classes = classes
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(4, (200,), generator=g)
        x = torch.randint(9, (200, 1, 8, 8), generator=g)
        x[torch.arange(200), 0, 2 * self.y] += 8
        self.x = x.to(torch.uint8)

    def split(self, name):
        part = slice(0, 150) if name == "train" else slice(150, 200)
        return self.x[part], {"label": self.y[part]} if self.classes else {}

    def fingerprint(self, split):
        return hashlib.sha256(self.x.numpy().tobytes()).hexdigest()


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path))
    return tmp_path


def classifier(**changes):
    settings = dict(dim=6, width=4, steps=10, batch_size=32, lr=0.01, seed=0) | changes
    return Classifier(**settings)


def prepared(data=None, **changes):
    features = classifier(**changes)
    features.prepare(data or Stripes(), CPU)
    return features


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def pixels(n=5):
    return torch.randint(256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_shapes_types_and_accuracy():
    features = prepared(steps=60)
    f, logits = features(pixels())
    assert f.shape == (5, 6) and logits.shape == (5, 4) and f.dtype == logits.dtype == torch.float32
    assert (features.dim, features.classes, features.name) == (6, 4, "classifier")
    protocol = features.protocol()
    assert protocol["features_accuracy"]["test"] > 0.9
    assert protocol["features_sha256"] == weights_sha256(features.network.state_dict())


def test_trained_once_then_read_from_the_cache(cache_dir, monkeypatch):
    first = prepared()
    assert len(files(cache_dir)) == 1
    monkeypatch.setattr(Classifier, "train", None)  # would fail
    second = prepared()
    assert second.protocol() == first.protocol()
    assert torch.equal(second(pixels()).features, first(pixels()).features)


def test_training_is_deterministic_and_leaves_the_global_random_state(cache_dir):
    torch.manual_seed(1)
    first, state = prepared().sha256, torch.get_rng_state()
    files(cache_dir)[0].unlink()
    torch.manual_seed(2)
    assert prepared().sha256 == first
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_other_data_or_settings_are_another_classifier(cache_dir):
    hashes = {prepared().sha256, prepared(Stripes(seed=1)).sha256, prepared(seed=1).sha256, prepared(steps=11).sha256}
    assert len(hashes) == len(files(cache_dir)) == 4
    features = prepared()
    before = features.sha256
    features.prepare(Stripes(seed=1), CPU)
    assert features.sha256 != before


@pytest.mark.parametrize("damage", ["truncated", "empty", "one byte"])
def test_a_damaged_file_is_trained_anew(cache_dir, damage):
    good = prepared().sha256
    (path,) = files(cache_dir)
    content = path.read_bytes()
    flipped = content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
    path.write_bytes({"truncated": content[:-50], "empty": b"", "one byte": flipped}[damage])
    assert cache.stored(path) is None
    assert prepared().sha256 == good
    assert cache.stored(path) is not None


def test_prepared_within_inference_mode_and_autocast_as_a_validation_loop_would(cache_dir):
    good = prepared()(pixels()).features
    files(cache_dir)[0].unlink()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        features = prepared()
        assert torch.equal(features(pixels()).features, good)
    assert torch.equal(features(pixels()).features, good)


def test_not_among_the_parameters_of_a_module_that_holds_it():
    holder = nn.Module()
    holder.features = prepared()
    assert not list(holder.parameters()) and not holder.state_dict()


def test_data_without_labels_are_told_by_orientation():
    features = prepared(Stripes(classes=None))
    assert features.classes == 4 and features.protocol()["features_task"] == "orientation"
    assert prepared().protocol()["features_task"] == "labels"
    assert features.sha256 != prepared().sha256
    assert prepared().tells_labels and not features.tells_labels


def test_orientations_are_those_of_the_image():
    x = torch.arange(6, dtype=torch.uint8).view(1, 1, 2, 3).expand(4, -1, -1, -1)
    as_it_is, mirrored, upside_down, both = turned(x, torch.arange(4))
    assert as_it_is.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert mirrored.flatten().tolist() == [2, 1, 0, 5, 4, 3]
    assert upside_down.flatten().tolist() == [3, 4, 5, 0, 1, 2]
    assert both.flatten().tolist() == [5, 4, 3, 2, 1, 0]


def test_a_cache_that_cannot_be_written_is_named(cache_dir, monkeypatch):
    (cache_dir / "file").write_text("")
    monkeypatch.setenv("GENMODELS_CACHE", str(cache_dir / "file"))
    with pytest.raises(UserError, match="set GENMODELS_CACHE"):
        prepared(steps=2)


def test_cache_directory_follows_the_environment(monkeypatch):
    monkeypatch.delenv("GENMODELS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert user_cache.cache_dir() == Path("/somewhere/genmodels")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache.cache_dir() == Path("~/.cache/genmodels").expanduser()


def test_config_builds_the_classifier():
    path = Path(__file__).parents[1] / "configs" / "features" / "classifier.yaml"
    assert instantiate(OmegaConf.load(path)).name == "classifier"
