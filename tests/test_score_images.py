"""Scoring images that another program made: folders, .npz files and statistics, and what a person can get wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from genmodels.data.pictures_on_disk import pictures_on_disk
from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.evaluators.metrics.fid import frechet_distance
from tests.helpers import train_config

DIGITS = load_digits()
X = (DIGITS.images * 255 / 16).round().astype(np.uint8)  # (1797, 8, 8)
REAL, FAKE = X[:150], X[1000:1063]
PIXELS = ["features=module", "features.name=pixels", "features.module._target_=torch.nn.Flatten"]  # as features
SMALL = ["features=classifier", "features.steps=5", "features.width=4", "features.dim=8"]
FID = "evaluator=[fid]"


def write_folder(folder: Path, x: np.ndarray, y: np.ndarray | None = None, suffix: str = ".png", **options) -> Path:
    for i, image in enumerate(x):
        file = folder / ("" if y is None else str(y[i])) / f"{i:04}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file, **options)
    return folder


@pytest.fixture
def folders(tmp_path) -> Path:
    """fake/ is flat, real/ has a sub-folder for each class."""
    write_folder(tmp_path / "fake", FAKE)
    write_folder(tmp_path / "real", REAL, DIGITS.target)
    return tmp_path


@pytest.fixture
def scores(genmodels, tmp_path):
    """Runs genmodels evaluate and gives the records by metric."""

    def run(*words: str) -> dict[str, dict]:
        file = tmp_path / "out" / str(len(list(tmp_path.glob("out/*")))) / "results.json"
        status, err = genmodels("evaluate", f"hydra.run.dir={file.parent}", *words)
        assert status == 0, err
        return {record["metric"]: record for record in json.loads(file.read_text())["results"]}

    return run


def fid_of(x: np.ndarray, y: np.ndarray) -> float:
    """Fréchet distance of pixels in 0..255 as features."""
    flat = [torch.from_numpy(images.reshape(len(images), -1)).double() for images in (x, y)]
    return frechet_distance(*(part for f in flat for part in (f.mean(0), torch.cov(f.T))))


def order(y: np.ndarray) -> np.ndarray:
    """In which the images of sub-folders are read."""
    return np.argsort(y, kind="stable")


@pytest.mark.slow
def test_fid_of_two_folders_is_the_pure_function_of_their_features(folders, scores):
    record = scores("samples=fake", "reference=real", FID, *PIXELS)["fid_pixels_63"]
    assert record["value"] == pytest.approx(fid_of(FAKE, REAL), rel=1e-9)
    protocol = record["protocol"]
    assert (
        protocol
        | {
            "n_generated": 63,
            "n_reference": 150,
            "samples": "fake",
            "reference": "real",
            "features": "pixels",
            "resize": "the module's own",
            "world_size": 1,
        }
        == protocol
    )
    assert len(protocol["features_sha256"]) == len(protocol["reference_fingerprint"]) == 64
    assert "rank-deficient: 63 samples" in protocol["note"]
    for batch_size in (1, 7, 1000):
        again = scores("samples=fake", "reference=real", FID, *PIXELS, f"batch_size={batch_size}")["fid_pixels_63"]
        assert again["value"] == pytest.approx(record["value"], rel=1e-9)


def test_a_set_against_itself(folders, scores):
    found = scores("samples=real", "reference=real", "evaluator=[fid,precision_recall]", *PIXELS)
    assert abs(found["fid_pixels_150"]["value"]) < 1e-6
    assert found["precision_pixels_150"]["value"] == found["recall_pixels_150"]["value"] == 1


def test_all_metrics_with_a_classifier_of_the_sub_folders(folders, scores):
    """Fewer images than a subset of kid has: it takes all at once, and says so."""
    found = scores("samples=fake", "reference=real", *SMALL)
    kinds = ("fid", "kid", "inception_score", "precision", "recall")
    assert list(found) == [f"{kind}_classifier_63" for kind in kinds]
    assert found["kid_classifier_63"]["protocol"]["subset_size"] is None
    assert set(found["fid_classifier_63"]["protocol"]["features_accuracy"]) == {"train", "test"}
    smaller = scores("samples=fake", "reference=real", *SMALL, "evaluator=[kid]", "evaluator.kid.subset_size=20")
    assert smaller["kid_classifier_63"]["protocol"]["subset_size"] == 20


def test_a_flat_folder_with_the_classifier_of_a_named_dataset(folders, scores):
    write_folder(folders / "flat", REAL)
    found = scores("samples=fake", "reference=flat", "classifier_data=digits", *SMALL, FID)
    against = scores("samples=fake", "reference=digits", *SMALL, FID)  # the same classifier
    key = "features_sha256"
    assert found["fid_classifier_63"]["protocol"][key] == against["fid_classifier_63"]["protocol"][key]
    assert against["fid_classifier_63"]["protocol"]["reference"] == "digits/train"
    test = scores("samples=fake", "reference=digits", "reference_split=test", *SMALL, FID)["fid_classifier_63"]
    assert (test["protocol"]["reference"], test["protocol"]["n_reference"]) == ("digits/test", 300)


@pytest.mark.slow
def test_the_same_images_in_any_container_have_the_same_score(folders, scores):
    np.savez(folders / "fake.npz", FAKE)  # arr_0
    np.savez(folders / "first.npz", images=FAKE[:, None])  # (n, 1, h, w)
    np.savez(folders / "colour.npz", images=np.repeat(FAKE[..., None], 3, axis=-1))  # (n, h, w, 3)
    write_folder(folders / "webp", FAKE, suffix=".webp", lossless=True)
    write_folder(folders / "deep" / "one" / ".." / "two", FAKE)
    wanted = scores("samples=fake", "reference=real", *SMALL, FID)["fid_classifier_63"]
    for name in ("fake.npz", "first.npz", "colour.npz", "webp", "deep"):
        found = scores(f"samples={name}", "reference=real", *SMALL, FID)["fid_classifier_63"]
        assert found["value"] == pytest.approx(wanted["value"], rel=1e-9), name


def test_images_in_colour(folders):
    x = np.random.default_rng(0).integers(256, size=(6, 5, 4, 3), dtype=np.uint8)
    np.savez(folders / "last.npz", images=x)
    np.savez(folders / "first.npz", images=np.moveaxis(x, -1, 1))
    write_folder(folders / "png", x)
    write_folder(folders / "jpg", x, suffix=".JPG", quality=95)
    write_folder(folders / "mixed", x[:5])
    Image.fromarray(x[5, ..., 0]).save(folders / "mixed" / "9.png")
    wanted = torch.from_numpy(x).permute(0, 3, 1, 2)
    for name in ("last.npz", "first.npz", "png"):
        pictures = pictures_on_disk(folders / name)
        assert pictures.shape == (3, 5, 4) and torch.equal(pictures.read(range(6)), wanted), name
    assert pictures_on_disk(folders / "jpg").read(range(6)).shape == wanted.shape
    mixed = pictures_on_disk(folders / "mixed").read([5])  # a grey image among coloured ones
    assert torch.equal(mixed, wanted[5:, :1].expand(-1, 3, -1, -1))


def test_grey_samples_against_coloured_references_are_three_equal_channels(folders, scores):
    np.savez(folders / "colour.npz", images=np.repeat(REAL[..., None], 3, axis=-1))
    found = scores("samples=fake", "reference=colour.npz", FID, *PIXELS)["fid_pixels_63"]
    assert found["value"] == pytest.approx(3 * fid_of(FAKE, REAL), rel=1e-9)


def test_statistics_as_reference(folders, scores):
    f = torch.from_numpy(REAL.reshape(150, -1)).double()
    np.savez(folders / "stats.npz", mu=f.mean(0).numpy(), sigma=torch.cov(f.T).numpy())
    record = scores("samples=fake", "reference=stats.npz", FID, *PIXELS)["fid_pixels_63"]
    assert record["value"] == pytest.approx(fid_of(FAKE, REAL), rel=1e-9)
    assert record["protocol"]["n_reference"] is None and record["protocol"]["reference"] == "stats.npz"


def test_n_samples_are_spread_over_all_and_a_picture_of_their_neighbours(folders, scores):
    found = scores("samples=fake", "reference=real", "n=21", "evaluator=[fid,nearest_neighbours]", *PIXELS)
    assert found["fid_pixels_21"]["value"] == pytest.approx(fid_of(FAKE[::3], REAL), rel=1e-9)
    assert found["fid_pixels_21"]["protocol"]["samples_chosen"] == "evenly over 63"
    assert (folders / "out" / "0" / "nearest_distance.png").stat().st_size > 0


def test_some_of_a_folder_of_classes_are_some_of_each(folders, scores):
    write_folder(folders / "classes", X[:100], np.repeat(range(5), 20))
    found = scores("samples=classes", "reference=real", "n=20", FID, *PIXELS)["fid_pixels_20"]
    assert found["value"] == pytest.approx(fid_of(X[:100:5], REAL), rel=1e-9)


def test_samples_of_a_model_score_the_same_from_disk(genmodels, scores, tmp_path, monkeypatch):
    run = tmp_path / "run"
    train(train_config(run, "trainer=smoke", "model.encoder.width=4", "model.decoder.width=4", "evaluator=[]"))
    own = [f"run={run}", FID, "evaluator.fid.n=20", *SMALL, "seed=3"]
    for batch_size in (6, 20):
        assert genmodels("evaluate", *own, f"batch_size={batch_size}")[0] == 0
    first, *others = json.loads((run / "results.json").read_text())["results"]
    assert first["metric"] == "fid_classifier_20" and all(r["value"] == first["value"] for r in others)
    for out in ("drawn", "drawn.npz"):
        assert genmodels("sample", f"run={run}", "n=20", f"out={out}", "seed=3", "batch_size=9")[0] == 0
        found = scores(f"samples={out}", "reference=digits", FID, *SMALL)["fid_classifier_20"]
        assert found["value"] == pytest.approx(first["value"], rel=1e-9)


@pytest.mark.slow
def test_help_shows_the_datasets(genmodels, capsys, monkeypatch):
    import sys

    from hydra.core.global_hydra import GlobalHydra

    from genmodels.cli.main import main

    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["genmodels", "evaluate", "reference=cifar10", "--help"])
    with pytest.raises(SystemExit) as exited:
        main()
    out = capsys.readouterr().out
    assert exited.value.code == 0 and "cifar10, digits" in out and "samples=FOLDER_OR_NPZ" in out


def test_labels_and_levels_in_an_npz(tmp_path):
    np.savez(tmp_path / "a.npz", images=DIGITS.images.astype(np.uint8), levels=17, labels=DIGITS.target)
    pictures = pictures_on_disk(tmp_path / "a.npz")
    assert pictures.classes == 10 and torch.equal(pictures.read(range(9))[:, 0], torch.from_numpy(X[:9]))
    x, condition = pictures.split("test")
    assert len(x) == 179 and condition["label"].tolist() == DIGITS.target[9::10].tolist()
    np.savez(tmp_path / "b.npz", images=X[:5], levels=17)
    with pytest.raises(UserError, match="expected 0..16"):
        pictures_on_disk(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", images=X[:5], labels=np.zeros(4, int))
    with pytest.raises(UserError, match="a class number for each of 5 images"):
        pictures_on_disk(tmp_path / "c.npz")


def test_a_flat_folder_needs_no_labels(folders, scores):
    """The classifier then learns to tell how an image is turned, and the protocol says that it did."""
    write_folder(folders / "flat", REAL)
    found = scores("samples=fake", "reference=flat", *SMALL, FID)
    assert found["fid_classifier_63"]["protocol"]["features_task"] == "orientation"
