"""Orders of entries: permutations, in raster order unless told otherwise, and pure functions of their seed."""

import pytest
import torch

from genmodels.errors import UserError
from genmodels.parts.orders import Natural, Reversed, Shuffled, Written


@pytest.mark.parametrize("order", [Natural(), Reversed(), Shuffled(seed=0), Written(entries=[2, 0, 3, 1])])
def test_every_order_has_each_entry_once(order):
    for mask in range(3):
        assert sorted(order.permutation(4, mask).tolist()) == [0, 1, 2, 3]


def test_orders_are_what_their_names_say():
    assert Natural().permutation(3, 1).tolist() == [0, 1, 2]
    assert Reversed().permutation(3, 1).tolist() == [2, 1, 0]
    assert Written(entries=[2, 0, 1]).permutation(3, 1).tolist() == [2, 0, 1]


def test_a_shuffled_order_depends_on_its_seed_and_on_the_mask_alone():
    order = Shuffled(seed=3)
    first = order.permutation(50, 0)
    torch.manual_seed(5)
    assert torch.equal(first, Shuffled(seed=3).permutation(50, 0))
    assert not torch.equal(first, order.permutation(50, 1))
    assert not torch.equal(first, Shuffled(seed=4).permutation(50, 0))


def test_what_is_no_permutation_of_a_sample_is_refused():
    with pytest.raises(UserError, match=r"the order \[0, 2\] is no permutation of 0..1, expected each entry's"):
        Written(entries=[0, 2])
    with pytest.raises(UserError, match="the order has 2 entries and a sample has 3, expected each one once"):
        Written(entries=[1, 0]).permutation(3, 0)
