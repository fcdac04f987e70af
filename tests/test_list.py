"""genmodels list: what is there in the groups, and in the groups of a model's parts."""

import subprocess
import sys

import pytest

from genmodels.cli.list import GROUPS, parts, run
from genmodels.cli.main import main
from genmodels.config.shipped import CONFIGS


def listed(capsys, *words: str) -> list[str]:
    assert run(list(words)) == 0
    return capsys.readouterr().out.splitlines()


def test_every_option_is_listed(capsys):
    names = {line.split()[0] for line in listed(capsys)}
    folders = [*GROUPS, *(part for group in GROUPS for part in parts([CONFIGS], group))]
    assert names >= {file.stem for folder in folders for file in (CONFIGS / folder).glob("*.yaml")} | {*folders}


def test_a_model_comes_with_the_groups_of_its_parts(capsys):
    lines = listed(capsys, "models")
    assert lines[0] == "model" and "model/objective" in lines and "sweep" not in lines


def test_the_parts_alone(capsys):
    lines = listed(capsys, "model/objective")
    assert lines[0] == "model/objective" and [line.split()[0] for line in lines[1:]] == ["elbo", "importance_weighted"]


@pytest.mark.parametrize("flag", [["--config-dir", "mine"], ["--config-dir=mine"], ["-cd", "mine"]])
def test_own_options_and_groups_are_shown_beside_ours(flag, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, text in {"model/dots": "Independent dots", "model/taste/sour": "Sour", "data/digits": "Mine"}.items():
        file = tmp_path / "mine" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"# {text}\n")
    lines = listed(capsys, *flag)
    found = {line.split()[0]: line.split(maxsplit=1)[-1] for line in lines}
    assert found["dots"] == "Independent dots" and "vae" in found
    assert found["model/taste"] and found["sour"] == "Sour"
    assert found["digits"] != "Mine", "Hydra takes ours where both have the name"
    assert listed(capsys, "model/taste", *flag) == ["model/taste", f"  {'sour':32} Sour"]


def test_a_config_dir_that_is_no_folder_is_refused(genmodels):
    status, said = genmodels("list", "--config-dir", "nowhere")
    assert status == 2 and "--config-dir nowhere is not a folder" in said


@pytest.mark.parametrize(("word", "hint"), [("modle", "did you mean model?"), ("model/objectiv", "model/objective?")])
def test_an_unknown_group_is_refused(genmodels, word, hint):
    status, said = genmodels("list", word)
    assert status == 2 and f"there is no group {word}" in said and hint in said


def test_a_reader_that_goes_is_no_fault():
    command = [sys.executable, "-c", "from genmodels.cli import main; main()", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 141)


@pytest.mark.parametrize("line", ["genmodels report out", "genmodels list mo", "genmodels reproduce -"])
def test_completion_of_words_that_hydra_does_not_compose_says_nothing(line, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setattr(sys, "argv", ["genmodels", "-sc", "query=bash"])
    with pytest.raises(SystemExit) as exited:
        main()
    assert exited.value.code == 0 and capsys.readouterr() == ("", "")


def test_completion_of_commands(monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", "genmodels re")
    monkeypatch.setattr(sys, "argv", ["genmodels", "-sc", "query=bash"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out.split() == ["report", "reproduce"]
