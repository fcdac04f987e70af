"""README's commands, files and code run as they are written, cut short; test_docs.py does so for docs/."""

import pytest

from genmodels.cli.main import COMMANDS
from tests.pages import README, stories
from tests.told import LOOKS, finished_run, run_story

EVERY = stories()
STORIES = [story for page, story in EVERY if page is README]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("readme") / "run")


def test_every_command_is_on_a_page():
    assert {words[0] for _, story in EVERY for words in story} == set(COMMANDS)
    assert len(STORIES) >= 8


def test_what_is_looked_at_stands_on_a_page():
    assert set(LOOKS) <= {word for _, story in EVERY for words in story for word in words}


@pytest.mark.slow
@pytest.mark.parametrize("story", STORIES, ids=lambda story: " ".join(story[0]))
def test_a_block_of_commands_runs(story, run_dir, tmp_path, monkeypatch, capsys):
    run_story(README, story, run_dir, tmp_path, monkeypatch, capsys)
