"""genmodels sample: what it is given to work from, and what it refuses; samples that depend on their number alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genmodels.capabilities import NO_CONDITION, Samples
from genmodels.engine.conditions import conditions
from genmodels.engine.originals import originals, to_complete
from genmodels.engine.sample import DrawnSamples, in_batches, samples, write_samples
from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.fields import Field, label
from genmodels.kinds import kind_of
from genmodels.pictures import by_class
from genmodels.run.checkpoint import load
from genmodels.run.data import data_of, fields_of, placed
from genmodels.run.trust import read_config
from genmodels.seeds import GLOBAL, ByNumber
from genmodels.training.hooks import prepare_model
from tests.helpers import train_config
from tests.test_degraded import degraded

IMAGE = Field("image", (1, 4, 4), 17)
UNCONDITIONAL, LABELS, BOTH = {}, label(10), {**label(10), "image": IMAGE}

TEXT = {"_target_": "genmodels.data.text.Text", "name": "t", "shape": [4], "levels": 2, "classes": None}
TEXT |= {"batch_size": 1, "path": "nowhere.txt", "vocabulary": "ab", "n_validation": 0.1, "n_test": 0.1}


class Model:
    domains = 2

    def __init__(self, condition):
        self.condition = condition


def node() -> dict:
    """The config of digits with a downscaled copy as condition."""
    source = {"_target_": "genmodels.data.digits.Digits", "name": "digits", "shape": [1, 8, 8], "levels": 17}
    source |= {"classes": 10, "batch_size": 8, "flip": False, "n_validation": 200, "n_test": 300, "split_seed": 0}
    facts = {key: source[key] for key in ("shape", "levels", "classes", "batch_size")}
    made = {"_target_": "genmodels.data.degraded.Degraded", "name": "small", "degradation": "downscaled", "factor": 2}
    return {**facts, **made, "condition": {"image": {"shape": [1, 4, 4], "levels": 17}}, "source": source}


def asked(of, n: int = 3, **changes) -> dict:
    config = {"label": None, "condition": None, "n": n, "trusted": []} | changes
    return dict(conditions(Model(of), config, node()))


def test_labels_and_nothing_at_all():
    assert asked(UNCONDITIONAL) == {}
    assert asked(LABELS, n=12)["label"].tolist() == [*range(10), 0, 1]
    assert asked(LABELS, label=3)["label"].tolist() == asked(LABELS, label=[3])["label"].tolist() == [3, 3, 3]
    assert asked(LABELS, n=5, label=[2, 0, 7])["label"].tolist() == [2, 0, 7, 2, 0]


def test_rows_of_a_split_are_its_first_and_begin_anew():
    test = degraded().split("test")
    found = asked(BOTH, n=302, condition="test")
    assert found["image"][:300].equal(test.condition["image"]) and found["image"][300:].equal(
        test.condition["image"][:2]
    )
    assert found["label"][:300].equal(test.condition["label"])
    found = asked(BOTH, condition="test", label=7)
    assert found["label"].tolist() == [7, 7, 7] and found["image"].equal(test.condition["image"][:3])


def test_rows_of_a_file(tmp_path: Path):
    image = np.arange(32).reshape(2, 1, 4, 4) % 17
    np.savez(tmp_path / "a.npz", image=image, label=[1, 2])
    found = asked(BOTH, condition=str(tmp_path / "a.npz"))
    assert found["image"].dtype == torch.uint8 and found["image"].tolist() == image[[0, 1, 0]].tolist()
    assert found["label"].dtype == torch.int64 and found["label"].tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("condition", "changes", "says"),
    [
        (UNCONDITIONAL, {"label": 3}, "label=3 is for a conditional model, and this one is unconditional"),
        (UNCONDITIONAL, {"condition": "val"}, "condition=val is for a conditional model"),
        (LABELS, {"label": 10}, r"label is 10, expected 0\.\.9"),
        (LABELS, {"label": -1}, r"label is -1, expected 0\.\.9"),
        (LABELS, {"label": [3, 10]}, r"label is \[3, 10\], expected 0\.\.9, or a list of these"),
        (LABELS, {"label": []}, r"label is \[\], expected 0\.\.9"),
        (
            {"image": IMAGE},
            {"label": 1},
            "label=1 is for a model conditional on labels, and this one is conditional on image",
        ),
        (
            BOTH,
            {},
            r"conditional on image \(image \[1, 4, 4\] of 0\.\.16\), which has no default; give condition=val",
        ),
        (BOTH, {"label": 1}, "conditional on image"),
        (BOTH, {"condition": "nowhere.npz"}, "condition=nowhere.npz is neither a split .* existing"),
        ({"pose": IMAGE}, {"condition": "val"}, "conditional on pose"),
    ],
)
def test_conditions_that_a_model_cannot_take_are_refused(condition, changes, says):
    with pytest.raises(UserError, match=says):
        asked(condition, **changes)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"pose": np.zeros((2, 1))}, "has the condition pose, and this model takes label, image"),
        ({"image": np.zeros((2, 4, 4), int)}, r"shape \[2, 4, 4\], expected n rows of image \[1, 4, 4\]"),
        ({"image": np.zeros((2, 1, 4, 4))}, "image is an array of float64"),
        ({"image": np.full((2, 1, 4, 4), 17)}, r"image has values 17\.\.17, expected 0\.\.16"),
        ({"image": np.zeros((0, 1, 4, 4), int)}, "expected n rows"),
        ({"label": [10]}, r"label has values 10\.\.10, expected 0\.\.9"),
        ({"image": np.zeros((2, 1, 4, 4), int)}, "conditional on label"),
    ],
)
def test_files_that_a_model_cannot_take_are_refused(tmp_path: Path, arrays, says):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=says):
        asked(BOTH, condition=str(tmp_path / "a.npz"))


# Images to be translated


def to_translate(**changes):
    config = {"source": 0, "target": 1, "images": None, "n": 4, "trusted": []} | changes
    return originals(Model({}), config, node())


def test_images_of_the_sources_domain(tmp_path: Path):
    test = degraded().split("test")
    assert to_translate(source=1, target=0).equal(test.x[test.condition["label"] == 1][:4])
    grey = Image.fromarray(np.full((8, 8), 128, np.uint8))
    grey.save(tmp_path / "a.png")
    grey.save(tmp_path / "b.png")
    for images, n in ((tmp_path, 2), (tmp_path / "b.png", 1)):
        x = to_translate(images=str(images))
        assert x.shape == (n, 1, 8, 8) and x.unique().tolist() == [8]  # of 17 levels
    np.savez(tmp_path / "c.npz", images=np.full((9, 8, 8, 1), 5, np.uint8), levels=17)
    assert to_translate(images=str(tmp_path / "c.npz")).equal(torch.full((4, 1, 8, 8), 5, dtype=torch.uint8))


def test_of_a_folder_images_are_taken_evenly(tmp_path: Path):
    for i in range(16):
        Image.fromarray(np.full((8, 8), 16 * i, np.uint8)).save(tmp_path / f"{i:02}.png")
    assert to_translate(images=str(tmp_path)).flatten(1)[:, 0].tolist() == [0, 4, 8, 12]
    assert len(to_translate(images=str(tmp_path), n=20)) == 16


def asked_to_complete(of=UNCONDITIONAL, data=None, **changes):
    config = {"images": None, "label": None, "condition": None, "n": 4, "trusted": []} | changes
    return to_complete(Model(of), config, data or node())


def test_what_is_completed_has_its_own_label_or_the_asked_one(tmp_path: Path):
    test = degraded().split("test")
    x, condition = asked_to_complete(BOTH)
    assert x.equal(test.x[:4]) and condition["label"].equal(test.condition["label"][:4])
    assert condition["image"].equal(test.condition["image"][:4])
    assert asked_to_complete().condition == {}
    assert asked_to_complete(LABELS, label=7).condition["label"].tolist() == [7] * 4
    np.savez(tmp_path / "c.npz", images=np.full((9, 8, 8, 1), 5, np.uint8), levels=17)
    x, condition = asked_to_complete(LABELS, images=str(tmp_path / "c.npz"), n=2)
    assert x.equal(torch.full((2, 1, 8, 8), 5, dtype=torch.uint8)) and condition["label"].tolist() == [0, 1]
    with pytest.raises(UserError, match="images=a.png is for images, and the model's samples are tokens"):
        asked_to_complete(data=TEXT, images="a.png")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source": None}, r"source is None, expected a domain 0\.\.1"),
        ({"target": 2}, r"target is 2, expected a domain 0\.\.1"),
        ({"target": 0}, "source and target are both 0"),
        ({"images": "nowhere"}, "images=nowhere does not exist"),
    ],
)
def test_directions_that_there_are_not_are_refused(changes, says):
    with pytest.raises(UserError, match=says):
        to_translate(**changes)


def test_images_of_another_size_are_refused(tmp_path: Path):
    Image.new("L", (9, 8)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"images of \[1, 8, 9\], expected \[1, 8, 8\]"):
        to_translate(images=str(tmp_path))


# What samples are, and how they are shared out


def test_the_samples_of_a_config_without_reading_files():
    image = {"shape": [3, 4, 4], "levels": 256, "classes": None}
    assert fields_of({"_target_": "mine.Unknown", **image}, []) == Field("image", (3, 4, 4), 256)
    assert fields_of(node(), []) == Field("image", (1, 8, 8), 17)
    assert fields_of(TEXT, []) == Field("tokens", (4,), 2, "ab")
    with pytest.raises(UserError, match="has no data with a shape and levels"):
        fields_of(None, [])


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_are_joined_in_order(batch_size):
    made = in_batches(lambda start, size: torch.arange(start, start + size), 7, {"batch_size": batch_size, "seed": 0})
    assert made.tolist() == list(range(7))


class Labelled(Samples):
    """Samples that are their label, brighter by a half."""

    condition = label(10)

    def sample(self, n, condition=NO_CONDITION, rng=GLOBAL):
        return (condition["label"] + 5).to(torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)


def test_files_hold_what_samples_are_conditioned_on(tmp_path: Path):
    config = {"label": [2, 0], "condition": None, "n": 5, "trusted": [], "batch_size": 2, "seed": 0}
    x, given, _ = samples(Labelled(), config, node(), torch.device("cpu"))
    drawn = DrawnSamples(x, given, None, kind_of(Field("image", (1, 8, 8), 17)), Labelled(), "sample")
    write_samples(drawn, tmp_path / "a.npz")
    arrays = np.load(tmp_path / "a.npz")
    assert sorted(arrays) == ["images", "label", "levels"] and arrays["label"].tolist() == [2, 0, 2, 0, 2]
    assert arrays["images"][:, 0, 0, 0].tolist() == [7, 5, 7, 5, 7]
    write_samples(drawn, tmp_path / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(by_class(x, given["label"], 17)))


@pytest.mark.slow
def test_two_processes_draw_what_one_does(genmodels, run_dir: Path):
    for words in (["out=one.npz"], ["out=two.npz", "devices=2", "batch_size=2"]):
        status, said = genmodels("sample", f"run={run_dir}", "n=7", "device=cpu", *words)
        assert status == 0, said
    assert np.array_equal(np.load("one.npz")["images"], np.load("two.npz")["images"])


def test_a_model_that_prepares_is_prepared(genmodels, tmp_path: Path):
    """Samples of the command are those of an evaluation: by statistics of the training data, not of training."""
    words = ("model=dcgan", "model.generator.width=8", "model.discriminator.width=8", "model.standing_batches=3")
    train(train_config(tmp_path / "run", *words, "trainer.max_steps=2"))
    model = load(tmp_path / "run")
    raw = model.sample(3, rng=ByNumber(0, 0, 3))
    data = data_of(read_config(tmp_path / "run" / "config.yaml")["data"], [])
    prepare_model(model, data, torch.device("cpu"))
    right = model.sample(3, rng=ByNumber(0, 0, 3))
    assert not torch.equal(right, raw)
    status, said = genmodels("sample", f"run={tmp_path / 'run'}", "n=3", "device=cpu", "out=a.npz")
    assert status == 0, said
    assert np.array_equal(np.load("a.npz")["images"], right)


def test_a_run_completes_images_whose_beginning_is_given(genmodels, tmp_path: Path):
    size = ("model.network.width=4", "model.network.layers=2", "model.network.head_width=4", "trainer.max_steps=2")
    train(train_config(tmp_path / "run", "model=pixelcnn", *size))
    run, data = f"run={tmp_path / 'run'}", data_of(read_config(tmp_path / "run" / "config.yaml")["data"], [])
    status, said = genmodels("sample", run, "task=complete", "given=40", "n=3", "device=cpu", "out=a.npz")
    assert status == 0, said
    made, x = np.load("a.npz")["images"], data.split("test").x[:3].numpy()
    assert np.array_equal(made[:, :, :5], x[:, :, :5]) and not np.array_equal(made[:, :, 5:], x[:, :, 5:])
    status, said = genmodels("sample", run, "task=complete", "n=3", "device=cpu", "out=a.png")
    assert status == 0 and Path("a.png").is_file(), said
    for word, says in (("given=65", "given is 65 for samples of 64 sites"), ("source=0", "source= is for task=transl")):
        status, said = genmodels("sample", run, "task=complete", word, "device=cpu", "out=b.png")
        assert status == 2 and says in said, said


# Where the files of data lie


def test_a_root_is_of_all_datasets_within_and_a_path_of_one():
    one, other = ({"_target_": "A", "root": "before", "path": None} for _ in range(2))
    single = {"_target_": "B", "classes": 2, "source": one}
    assert placed(single, {"root": "r", "path": "p", "test_path": "t"}) == {
        **single,
        "source": {"_target_": "A", "root": "r", "path": "p"},
    }
    both = {"_target_": "C", "domains": {"first": {"source": one}, "second": {"source": other}}}
    moved = placed(both, {"root": "r", "path": None})["domains"]
    assert [moved[name]["source"]["root"] for name in ("first", "second")] == ["r", "r"]
    assert placed(both, {"root": None, "path": None}) == both
    with pytest.raises(UserError, match=r"data.path is one path.*domains.first.source.path, data.domains.second"):
        placed(both, {"path": "p"})
