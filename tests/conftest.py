"""What all tests share: a cache directory of their own, and the command line in an empty folder."""

import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from genmodels.cli.main import main


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_session(tmp_path_factory):
    """The user's cache directory is left alone; what one test keeps, such as a classifier, the next finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENMODELS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def genmodels(tmp_path, monkeypatch, capsys):
    """Runs a command line in an empty folder: (exit status, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENMODELS_DEBUG", raising=False)
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_MODE", "offline")

    def run(*words: str) -> tuple[int, str]:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["genmodels", *words])
        with pytest.raises(SystemExit) as exited:
            main()
        return exited.value.code, capsys.readouterr().err

    return run


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory) -> Path:
    """A finished little run, to be read and not to be changed."""
    from genmodels.engine.train import train
    from tests.helpers import train_config

    folder = tmp_path_factory.mktemp("finished") / "run"
    train(train_config(folder, "trainer=smoke", "model.encoder.width=8", "model.decoder.width=8"))
    return folder
