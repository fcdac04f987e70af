"""Text as data: windows of characters, held-out parts, and what is said of a text that does not fit."""

import hydra
import pytest
import torch
from omegaconf import OmegaConf

from genmodels.config.shipped import CONFIGS
from genmodels.data.base import Split
from genmodels.data.loader import Loader
from genmodels.data.text import Text
from genmodels.errors import UserError
from genmodels.fields import Field
from tests.helpers import epoch

WORDS = "to be, or not to be.\n" * 40  # 840 characters


@pytest.fixture
def text(tmp_path):
    """Makes a dataset of a text with its own vocabulary, in no order."""

    def make(content: str | bytes = WORDS, **settings) -> Text:
        path = tmp_path / "text.txt"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        known = "tob e,rn.\n"
        facts = {"name": "text", "shape": [8], "levels": len(known), "classes": None, "batch_size": 4}
        parts = {"path": str(path), "vocabulary": known, "n_validation": 0.1, "n_test": 0.05}
        return Text(**facts | parts | settings)

    return make


def said(data: Text, x: torch.Tensor) -> list[str]:
    return ["".join(data.vocabulary[number] for number in window.tolist()) for window in x]


def test_held_out_parts_are_the_end_of_the_text_in_windows_side_by_side(text):
    data = text()
    windows = {name: "".join(said(data, data.split(name).x)) for name in ("train", "val", "test")}
    assert windows["train"] == WORDS[:712]  # 714 characters
    assert windows["val"] == WORDS[714 : 714 + 80]  # 84
    assert windows["test"] == WORDS[798 : 798 + 40]  # 42
    assert data.x == Field("tokens", (8,), 10, "tob e,rn.\n") and data.condition == {}
    assert data.split("train").x.dtype == torch.uint8


def test_training_draws_from_all_windows_which_are_a_view(text):
    data = text()
    split = data.training_split()
    assert split.x.shape == (714 - 8 + 1, 8)
    assert split.x.untyped_storage().nbytes() <= len(WORDS)
    assert said(data, split.x) == [WORDS[i : i + 8] for i in range(707)]
    settings = {"batch_size": 4, "seed": 0, "rank": 0, "world_size": 1}
    loader = Loader(split=split, visit=data.visit, device=torch.device("cpu"), **settings)
    seen = [x for x, condition in epoch(loader) if condition == {}]
    assert len(seen) == 707 // 4 and all(window in WORDS for x in seen for window in said(data, x))
    assert len({window for x in seen for window in said(data, x)}) == 21  # of 21 phases


def test_the_fingerprint_knows_the_text_and_the_vocabulary(text):
    prints = [text().fingerprint("test"), text().fingerprint("test"), text(WORDS.upper().lower()).fingerprint("test")]
    assert len(set(prints)) == 1
    assert text(vocabulary="tob e,rn\n.").fingerprint("test") != prints[0]


def test_any_characters_of_unicode_can_be_in_a_vocabulary(text):
    data = text("añ漢😀\r\n" * 20, vocabulary="\n😀漢ña", levels=5, shape=[5])
    assert said(data, data.split("train").x)[0] == "añ漢😀\n"
    many = text("".join(map(chr, range(1000, 1300))) * 3, vocabulary="".join(map(chr, range(1000, 1300))), levels=300)
    assert many.split("train").x.dtype == torch.int16


def test_the_vocabulary_of_the_yaml_is_the_sorted_one_of_tiny_shakespeare(tmp_path):
    node = OmegaConf.load(CONFIGS / "data" / "text.yaml")
    assert list(node.vocabulary) == sorted(set(node.vocabulary)) and len(node.vocabulary) == node.levels == 65
    (tmp_path / "a.txt").write_text("First Citizen:\nBefore we proceed any further, hear me speak; &c. 3$?!-'\n" * 40)
    data = hydra.utils.instantiate(OmegaConf.merge(node, {"path": str(tmp_path / "a.txt")}))
    assert isinstance(data.split("test"), Split)


def test_nothing_held_out_is_an_empty_split(text):
    data = text(n_test=0.0)
    assert len(data.split("val").x) == 10
    with pytest.raises(UserError, match=r"test split of text is empty.*data.n_test"):
        data.split("test")


REFUSED = [
    ({"content": WORDS + "\nto bé"}, r"lacks: 'é' at line 42, column 5; add them to data.vocabulary"),
    ({"content": "abcdefghijklmn" + WORDS}, r"'a' at line 1, column 1, 'c' .*'g' at line 1, column 7 and 6 more"),
    ({"content": b"\xff\xfe" * 50}, "is no UTF-8 text"),
    ({"content": "to be"}, "has 4 characters to train on, expected at least the 8 of a window"),
    ({"path": "nowhere.txt"}, "nowhere.txt cannot be read"),
    ({"levels": 9}, "data.levels is 9 and data.vocabulary has 10 characters; set data.levels=10"),
    ({"vocabulary": "tob e,rn.t"}, r"\['t'\] more than once"),
    ({"shape": [1, 8]}, r"data.shape is \[1, 8\]"),
    ({"n_validation": 0.6, "n_test": 0.4}, "together below 1"),
]


@pytest.mark.parametrize("given, message", REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_does_not_fit_is_refused_in_a_sentence(text, given, message):
    with pytest.raises(UserError, match=message):
        text(**given).split("train")
