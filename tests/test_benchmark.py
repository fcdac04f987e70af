"""genmodels benchmark: every work is there twice, and its table says how they compare."""

import pytest

from benchmarks import timing as benchmark
from benchmarks.pairs import PAIRS, Pair
from benchmarks.timing import WORKS, timed


def test_every_work_that_is_named_can_be_timed():
    assert list(WORKS) == list(PAIRS)


def test_a_ratio_is_how_many_times_as_fast_ours_is(monkeypatch):
    clock = iter([0.0, 6.0, 6.0, 8.0])  # one round: the plain way takes 6 s, ours 2 s
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    assert timed(Pair(12, lambda: list, lambda: list)) == (2.0, 6.0, 3.0)


def test_a_work_is_timed(genmodels, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    monkeypatch.setattr("benchmarks.pairs.LOADED", 256)
    table = []
    monkeypatch.setattr("genmodels.console.console.print", table.append)
    assert genmodels("benchmark", "loading")[0] == 0
    (loading,) = table
    assert loading.row_count == 1 and [column.header for column in loading.columns][-2:] == ["speed of ours", "goal"]


def test_help_names_the_works(capsys):
    assert benchmark.run(["--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: genmodels benchmark") and all(name in said for name in WORKS)


@pytest.mark.parametrize("word", ["trainings", "xyzzy"])
def test_an_unknown_work_is_refused(genmodels, word):
    status, said = genmodels("benchmark", word)
    assert status == 2 and f"there is no work {word} to be timed" in said
