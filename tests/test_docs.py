"""The commands and files of docs/ run as they are written, cut short; code and links of README, too, are right."""

import re

import pytest
import torch

from tests.pages import PAGES, README, ROOT, Page, stories
from tests.told import finished_run, run_story

STORIES = [(page, story) for page, story in stories() if page is not README]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("docs") / "run")


@pytest.mark.slow
@pytest.mark.parametrize(("page", "story"), STORIES, ids=lambda x: x.name if isinstance(x, Page) else " ".join(x[0]))
def test_a_block_of_commands_runs(page, story, run_dir, tmp_path, monkeypatch, capsys):
    run_story(page, story, run_dir, tmp_path, monkeypatch, capsys)


@pages
def test_a_yaml_on_a_page_is_a_named_file(page):
    assert not loose(page, "yaml"), "a YAML without the name of its file before it"


@pytest.mark.slow
@pages
def test_code_on_a_page_is_a_named_file_or_runs(page, run_dir):
    for code in loose(page, "python"):
        names: dict = {}
        exec(code.replace("RUN_DIR", str(run_dir)), names)
        assert names["x"].shape == (16, 1, 8, 8) and names["x"].dtype == torch.uint8
        assert names["bpd"].shape == (16,)


def loose(page, kind):
    """The blocks that are no file with a name."""
    return [text for text in page.blocks(kind) if text not in page.files.values()]


@pages
def test_other_lines_are_those_of_the_makefile(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in page.lines:
        if not line.removeprefix("PYTHONPATH=. ").startswith("genmodels "):
            assert line.split()[0] == "make" and line.split()[1] in targets, line


@pages
def test_links_lead_somewhere(page):
    for link in page.links:
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), link
        assert not anchor or anchor in Page(target).anchors, link
