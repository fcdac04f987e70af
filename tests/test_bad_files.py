"""What can be wrong with files (tests/bad_input.py): one clear sentence, its status, nothing left behind."""

import pytest

from tests.bad_input import assert_refused, of_kinds


@pytest.mark.parametrize("row", of_kinds("checkpoint", "run directory", "sampling", "images"))
def test_bad_files_are_refused_in_one_sentence(row, genmodels, run_dir, tmp_path, monkeypatch):
    assert_refused(row, genmodels, run_dir, tmp_path, monkeypatch)
