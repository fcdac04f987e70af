"""--help says what every key means, of the whole config or of a part; flags may stand anywhere on a command line."""

import sys
from collections.abc import Iterator

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from genmodels.cli.app import flags_first
from genmodels.cli.main import main
from genmodels.config.constructors import parameters
from genmodels.config.explained import keys
from genmodels.config.shipped import CONFIGS

FILES = [
    file
    for file in sorted(CONFIGS.rglob("*.yaml"))
    if file.relative_to(CONFIGS).parts[0] not in ("experiment", "sweep", "hydra")
]


def calls(node: object) -> Iterator[dict]:
    """Every mapping in a YAML that calls a class by name."""
    if isinstance(node, dict):
        if str(node.get("_target_", "???")) != "???":
            yield node
        for value in node.values():
            yield from calls(value)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_every_key_with_a_value_of_its_own_says_what_it_means(file):
    """Beside the parameter of its constructor, or in a YAML."""
    for call in calls(OmegaConf.to_container(OmegaConf.load(file), resolve=False)):
        own = {k: v for k, v in call.items() if k != "defaults" and not (isinstance(v, dict) or "${" in str(v))}
        silent = [key.name for key in keys(own, call["_target_"]) if not key.meaning]
        assert not silent, f"{call['_target_']}: say in a comment what {silent} mean"


def test_a_parameter_of_a_class_above_is_explained_too():
    found = parameters("genmodels.samplers.ddim.DDIM")
    assert found.keys() >= {"eta", "steps", "guidance"} and all(each.comment for each in found.values())
    assert parameters("torch.optim.Adam") == {} == parameters("no.such.Class")


def help_of(monkeypatch, tmp_path, capsys, command: str, *words: str, status: int = 0) -> str:
    monkeypatch.chdir(tmp_path)
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["genmodels", command, *words])
    with pytest.raises(SystemExit) as exited:
        main()
    said = capsys.readouterr()
    assert exited.value.code == status, said.err
    assert not any(tmp_path.iterdir())
    return said.out + said.err


@pytest.mark.parametrize("words", [["--help", "model.network", "model=ddpm"], ["model=ddpm", "model.network", "-h"]])
def test_help_about_a_part(words, monkeypatch, tmp_path, capsys):
    out = help_of(monkeypatch, tmp_path, capsys, "train", *words)
    lines = out.splitlines()
    assert lines[0].startswith("model.network=genmodels.nn.unet.UNet")
    assert all(line.startswith("model.network") for line in lines)
    assert any("width=32" in line and "# channels of the first level" in line for line in lines)


@pytest.mark.parametrize("command", ["train", "evaluate", "sample", "export"])
def test_help_of_a_command(command, monkeypatch, tmp_path, capsys):
    out = help_of(monkeypatch, tmp_path, capsys, command, "--help")
    assert f"usage: genmodels {command}" in out and "$" not in out.split("==")[0]
    assert any(line.startswith("trusted=[]") and "# " in line for line in out.splitlines())


def test_help_about_nothing(monkeypatch, tmp_path, capsys):
    said = help_of(monkeypatch, tmp_path, capsys, "train", "--help", "model.encodr", status=2)
    assert "there is no key model.encodr; did you mean model.encoder?" in said


def test_flags_stand_anywhere():
    words = ["a=1", "--config-dir", "mine", "b=2", "-m"]
    assert flags_first(words) == ["--config-dir", "mine", "-m", "a=1", "b=2"]
