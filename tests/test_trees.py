"""Samples made of several tensors, such as a graph's nodes and edges: from the data through training to a number."""

import json
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genmodels import trees
from genmodels.capabilities import NO_CONDITION, HasLikelihood, HasLoss, Samples
from genmodels.data.base import Data, Splits, hold_out, labelled
from genmodels.data.loader import Loader
from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.fields import Field
from genmodels.kinds import kind_of
from genmodels.seeds import GLOBAL
from tests.helpers import epoch, train_config

NODES, KINDS = 3, 4
FIELDS = {"nodes": Field("graph", (NODES,), KINDS), "edges": Field("graph", (NODES, NODES), 2)}
DIMS = NODES + NODES**2


class Graphs(Data):
    """Random graphs of three nodes with one of four kinds each, and their edges; the label is the first node's kind."""

    def __init__(self, *, name: str, shape: list[int], levels: int, classes: int, batch_size: int, n: int):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size)
        self.x, self.n = FIELDS, n

    def read(self) -> Splits:
        generator = torch.Generator().manual_seed(0)
        x = {
            name: torch.randint(field.levels, (self.n, *field.shape), generator=generator).to(field.dtype)
            for name, field in FIELDS.items()
        }
        rest, test = hold_out(labelled(x, x["nodes"][:, 0].long()), self.n // 4, 0, "n_test")
        train, val = hold_out(rest, self.n // 4, 0, "n_validation")
        return Splits(train, val, test, training=train)

    def transform(self, x: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return x


class Independent(nn.Module, HasLoss, HasLikelihood, Samples):
    """Every entry for itself, from learned logits."""

    bound = "exact"

    def __init__(self):
        super().__init__()
        sizes = {name: (*field.shape, field.levels) for name, field in FIELDS.items()}
        self.logits = nn.ParameterDict({name: nn.Parameter(torch.zeros(size)) for name, size in sizes.items()})

    def log_prob(self, x, condition=NO_CONDITION, *, draws=None):
        terms = [
            self.logits[name].log_softmax(-1).expand(len(values), *field.shape, -1).gather(-1, values.long()[..., None])
            for (name, field), values in zip(FIELDS.items(), (x["nodes"], x["edges"]), strict=True)
        ]
        return sum(term.flatten(1).sum(1) for term in terms)

    def loss(self, x, condition=NO_CONDITION):
        return {"loss": -self.log_prob(x)}

    def sample(self, n, condition=NO_CONDITION, rng=GLOBAL):
        return {
            name: rng.categorical(self.logits[name].expand(n, *field.shape, -1)).to(field.dtype)
            for name, field in FIELDS.items()
        }


def graphs(n: int = 40) -> Graphs:
    return Graphs(name="graphs", shape=[NODES], levels=KINDS, classes=KINDS, batch_size=8, n=n)


def test_every_split_has_all_parts_of_its_samples() -> None:
    data = graphs()
    splits = [data.split(name) for name in ("train", "val", "test")]
    assert [trees.count(split.x) for split in splits] == [20, 10, 10]
    assert all(
        {name: len(part) for name, part in s.x.items()} == dict.fromkeys(FIELDS, len(s.x["nodes"])) for s in splits
    )
    assert all(split.x["nodes"][:, 0].equal(split.condition["label"].to(torch.uint8)) for split in splits)


def test_the_fingerprint_is_of_every_part() -> None:
    prints = {graphs().fingerprint("test")}
    for part in ("nodes", "edges"):
        data = graphs()
        data.split("test").x[part][0] = 1 - data.split("test").x[part][0].clamp(max=1)
        prints.add(data.fingerprint("test"))
    assert len(prints) == 3 and graphs().fingerprint("test") in prints


def test_a_part_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FIELDS, "edges", Field("graph", (NODES, NODES), 3))
    data = graphs()
    data.x = {**FIELDS, "edges": Field("graph", (NODES, NODES), 2)}
    with pytest.raises(UserError, match=r"graphs: edges has values 0\.\.2, expected 0\.\.1"):
        data.split("train")


def test_batches_keep_the_parts_of_a_sample_together() -> None:
    data = graphs()
    settings = {"batch_size": 4, "seed": 0, "rank": 1, "world_size": 2}
    loader = Loader(split=data.training_split(), visit=data.visit, device=torch.device("cpu"), **settings)
    rows = set(map(str, zip(*(data.split("train").x[part].tolist() for part in FIELDS), strict=True)))
    for x, condition in epoch(loader):
        assert trees.count(x) == 4 and x["nodes"][:, 0].equal(condition["label"].to(torch.uint8))
        assert set(map(str, zip(x["nodes"].tolist(), x["edges"].tolist(), strict=True))) <= rows


def test_trees_are_moved_cut_and_joined_as_tensors_are() -> None:
    x = torch.arange(6).view(3, 2)
    for tree, leaf in ((x, lambda t: t), ({"a": {"b": x}}, lambda t: t["a"]["b"])):
        assert (
            trees.count(tree) == 3
            and leaf(trees.first(tree, 2)).equal(x[:2])
            and leaf(trees.first(tree, None)).equal(x)
        )
        assert leaf(trees.take(tree, torch.tensor([2, 0]))).equal(x[[2, 0]]) and leaf(
            trees.part(tree, slice(1, 2))
        ).equal(x[1:2])
        assert leaf(trees.repeat(tree, 2)).equal(torch.cat([x, x]))
        assert leaf(trees.cat(trees.chunk(tree, 3))).equal(x) and len(trees.chunk({}, 3)) == 3


def test_they_train_and_are_scored_and_kept(tmp_path: Path) -> None:
    """A model of independent entries comes near the entropy of random graphs, ln 4 a node and ln 2 an edge."""
    words = ["trainer=smoke", "evaluator=[likelihood]", "callbacks=[pictures]", "evaluator.likelihood.draws=1"]
    config = train_config(tmp_path / "run", *words, "trainer.max_steps=3", "optimizer.lr=0.01")
    config["data"] = {"_target_": "tests.test_trees.Graphs", "name": "graphs", "shape": [NODES], "levels": KINDS}
    config["data"] |= {"classes": KINDS, "batch_size": 64, "n": 400}
    config["model"] = {"_target_": "tests.test_trees.Independent"}
    train(config)
    records = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
    values = {f"{record['split']}/{record['metric']}": record["value"] for record in records}
    entropy = NODES * log(4) + NODES**2 * log(2)
    assert values["test/nll_nats"] == pytest.approx(entropy, abs=0.1)
    assert values["test/bits_per_dim"] == pytest.approx(values["test/nll_nats"] / DIMS / log(2))
    kind = kind_of(FIELDS)
    kind.save(Independent().sample(5), tmp_path / "graphs.npz", None)
    assert {name: array.shape for name, array in np.load(tmp_path / "graphs.npz").items()} == {
        "nodes": (5, NODES),
        "edges": (5, NODES, NODES),
    }
