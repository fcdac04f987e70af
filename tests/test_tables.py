"""What a person reads on the terminal: tables that follow COLUMNS, which way is better, and what can be done next."""

import shlex
import subprocess
import sys

import pytest

from genmodels import console as tables
from genmodels.evaluators.results import Record


def record(metric: str, mode: str) -> Record:
    return Record(metric=metric, split="test", value=19.6, std=None, protocol={"bound": "exact"}, mode=mode)


def test_results_say_which_way_is_better(capsys):
    tables.show_results([record("fid_1k", "min"), record("accuracy", "max")], "ours")
    out = capsys.readouterr().out
    assert "test/fid_1k ↓" in out and "test/accuracy ↑" in out and "19.6000" in out


def test_what_can_be_done_next_can_be_copied(tmp_path, capsys):
    run = tmp_path / "it's (my) run"
    tables.show_next(run)
    lines = [line.removeprefix("next").strip() for line in capsys.readouterr().out.splitlines()]
    words = [shlex.split(line) for line in lines]
    assert [line[:2] for line in words] == [["genmodels", name] for name in ("sample", "evaluate", "report", "train")]
    assert words[0][2] == f"run={run}" and words[3][2] == f"resume={run}"


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "width"), [("72", 72), (None, 120)])
def test_a_table_is_as_wide_as_columns_says_where_there_is_no_terminal(columns, width, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    code = "from genmodels.console import console; print(console.width)"
    assert int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout) == width
