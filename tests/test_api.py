"""genmodels from Python: training, evaluating and sampling give objects, and refuse what the command line refuses."""

import math
from pathlib import Path

import pandas
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

import genmodels
from genmodels.errors import UserError

QUICK = ("trainer=smoke", "logger=csv", "model.encoder.width=8", "model.decoder.width=8", "evaluator=[likelihood]")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path / "data"))
    GlobalHydra.instance().clear()
    return tmp_path


def test_a_training_gives_its_run(here):
    run = genmodels.train(*QUICK, "seed=3")
    assert run.path.is_relative_to(here / "outputs" / "digits_vae") and (run.path / "results.json").is_file()
    assert (run.name, run.dataset, run.model, run.family, run.seed) == ("digits_vae", "digits", "VAE", "vae", 3)
    assert (run.status.state, run.status.step) == ("finished", 4)
    bits = next(record for record in run.results if record.key == "test/bits_per_dim")
    assert math.isfinite(bits.value) and bits.protocol["weights"] == "ema"
    assert isinstance(run.curves, pandas.DataFrame) and run.curves.index.name == "images_seen"
    loss = run.curves["train/loss"].dropna()
    assert list(loss.index) == [128, 256, 384, 512] and loss.notna().all()
    assert repr(run) == f"Run({str(run.path)!r}, finished, 4 steps)"

    again = genmodels.evaluate(run, "evaluator=[likelihood]", "evaluator.likelihood.draws=2")
    assert {record.protocol["draws"] for record in again.results if record.metric == "nll_nats"} == {1, 2}

    x = genmodels.sample(run, "n=3", "seed=1")
    assert x.shape == (3, 1, 8, 8) and x.dtype == torch.uint8
    assert torch.equal(x, genmodels.sample(run.path, "n=3", "seed=1", "out=three.npz")) and Path("three.npz").is_file()
    assert not list(here.glob("samples.*"))  # nothing is written that nobody asked for

    assert genmodels.load(run).sample(2).shape == (2, 1, 8, 8)
    on = genmodels.train(f"resume={run.path}", "trainer.max_steps=6")
    assert (on.path, on.status.step, genmodels.Run(run).status.step) == (run.path, 6, 6)


def test_a_person_has_configs_of_their_own(here):
    (here / "mine" / "experiment").mkdir(parents=True)
    (here / "mine" / "experiment" / "small.yaml").write_text("# @package _global_\nname: small\n")
    run = genmodels.train("experiment=small", *QUICK, config_dir=here / "mine")
    assert run.name == "small" and run.path.parent.name == "small"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: genmodels.train("model.latent_dims=3"), "latent_dim"),
        (lambda: genmodels.train("seed=0,1"), "-m"),
        (lambda: genmodels.train("trainer.max_steps=-3"), "trainer.max_steps"),
        (lambda: genmodels.train("resume=nowhere"), "nowhere is not a run directory"),
        (lambda: genmodels.evaluate("nowhere"), "nowhere does not exist"),
        (lambda: genmodels.sample("nowhere", "devices=2"), "use the command line"),
    ],
)
def test_what_is_wrong_is_said_before_the_work(here, call, sentence):
    with pytest.raises(UserError, match=sentence):
        call()
    assert not (here / "outputs").exists()


@pytest.mark.slow
def test_a_notebook_trains_and_shows_progress(here):
    nbformat = pytest.importorskip("nbformat")
    from nbclient import NotebookClient

    cells = [
        "import genmodels",
        f"run = genmodels.train(*{QUICK!r})",
        "run.curves.tail(1)",
        "run",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(here)}}).execute()
    said = "".join(output.get("text", "") for output in book.cells[1].outputs)
    assert "step 4/4" in said and "bits_per_dim" in said + str(book.cells[1].outputs)
    assert "train/loss" in book.cells[2].outputs[-1]["data"]["text/html"]
    assert "finished, 4 steps" in book.cells[3].outputs[-1]["data"]["text/plain"]
