"""A crash leaves its whole stack in the run directory and says where; a mistake of the person leaves nothing."""

import errno

import pytest

from genmodels.errors import Fault, UserError
from genmodels.failures import FAULT, explain
from genmodels.run.stack import stack_kept_in


def crash():
    raise ZeroDivisionError("no numbers")


@pytest.mark.parametrize("world, name", [(1, "error.log"), (4, "error_rank2.log")])
def test_a_crash_leaves_its_stack_and_says_where(tmp_path, world, name):
    with pytest.raises(ZeroDivisionError) as crashed, stack_kept_in(tmp_path / "run", rank=2, world=world):
        crash()
    file = tmp_path / "run" / name
    assert explain(crashed.value) == (f"ZeroDivisionError: no numbers (the stack is in {file})", FAULT)
    assert file.read_text().startswith("Traceback") and "in crash" in file.read_text()


@pytest.mark.parametrize("error", [UserError("no file"), Fault("not finite"), OSError(errno.ENOSPC, "full", "file")])
def test_what_is_explained_leaves_nothing(tmp_path, error):
    with pytest.raises(type(error)), stack_kept_in(tmp_path / "run", rank=0, world=1):
        raise error
    assert not list(tmp_path.iterdir())


def test_without_a_place_for_the_stack_the_sentence_says_how_to_see_it(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(ZeroDivisionError) as crashed, stack_kept_in(tmp_path / "run", rank=0, world=1):
        crash()
    assert explain(crashed.value)[0] == "ZeroDivisionError: no numbers (GENMODELS_DEBUG=1 shows where)"
