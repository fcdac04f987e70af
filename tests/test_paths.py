"""Paths on the command line: whatever characters they have, with `~`, and in the commands that are printed."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from genmodels.config.compose import compose_config
from genmodels.config.paths import with_paths_quoted
from genmodels.errors import UserError
from genmodels.run.results import read_results

ODD = (
    "a=b",
    "a,b",
    "a b",
    " a",
    "#1",
    "(a",
    "[a",
    "{a",
    "a&b",
    "a;b!",
    "^a",
    "it's",
    '"a',
    "a\\",
    "größe/雪",
    "1e3",
    "true",
    "a:b",
    "@a",
    "$a",
    "a~",
)


@pytest.mark.parametrize("name", ODD)
def test_a_path_is_taken_as_it_is(name):
    config = compose_config("evaluate", with_paths_quoted([f"run={name}", f"data.root=/x/{name}", "seed=1"]))
    assert (config.run, config.data.root, config.seed) == (name, f"/x/{name}", 1)


def test_what_hydra_reads_by_itself_stays_as_it_is(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for word in ("run=a/b.c-d_1", "run=null", "hydra.run.dir=out/${name}", "out=a b", "seed=1,2", "-m", "~run=a"):
        assert with_paths_quoted([word]) == [word]
    assert with_paths_quoted(["out='a b'"]) == ["out=a b"]
    assert with_paths_quoted(["-m", "data.path=a,b"]) == ["-m", "data.path=a,b"]  # a sweep over two
    assert with_paths_quoted(["out=~", "++data.path=~/a,b", "--config-dir=~/c"]) == [
        "out=/home/me",
        "++data.path='/home/me/a,b'",
        "--config-dir=/home/me/c",
    ]


STRANGE = "é = , # ( [ { & ; ! ^ ' x"


@pytest.mark.slow
def test_a_run_in_a_strange_place_is_gone_on_with(genmodels, run_dir, tmp_path, monkeypatch, capsys):
    shutil.copytree(run_dir, tmp_path / STRANGE)
    status, err = genmodels("train", f"resume={STRANGE}")
    assert status == 0, err
    monkeypatch.setenv("HOME", str(tmp_path))
    assert genmodels("train", f"resume=~/{STRANGE}") == (0, "")
    assert genmodels("export", f"run={STRANGE}", "out=~/a=b") == (0, "")
    assert (tmp_path / "a=b" / "model.safetensors").is_file() and not (tmp_path / "~").exists()
    status, err = genmodels("train", f"hydra.run.dir=~/{STRANGE}", "trainer=smoke")
    assert status == 2 and "contains a run already" in err
    hint = re.search(r"continue it with (.*), or choose", err).group(1)  # as it is copied into a shell
    assert shlex.split(hint) == [f"resume={tmp_path / STRANGE}"]


def test_the_command_that_measures_damaged_results_again_can_be_copied(tmp_path):
    file = tmp_path / STRANGE / "results.json"
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(UserError) as refused:
        read_results(file)
    command = str(refused.value).split("again: ")[1]
    assert shlex.split(command) == ["genmodels", "evaluate", f"run={Path(file.parent)}"]
