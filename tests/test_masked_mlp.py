"""MADE's network: every number sees the context and all entries before its own, and nothing else."""

import pytest
import torch

from genmodels.context import Context
from genmodels.errors import UserError
from genmodels.nn.layers.masked_mlp import MaskedMLP
from genmodels.seeds import seeded


@pytest.mark.parametrize("order", [[0, 1], [2, 0, 1], [4, 3, 2, 1, 0]])
@pytest.mark.parametrize("vector", [0, 3])
def test_each_number_sees_all_before_its_entry_and_nothing_else(order, vector):
    d, k = len(order), 2
    context = {"vector": vector} if vector else {}
    with seeded(0):
        net = MaskedMLP(order=order, k=k, hidden=[12, 12], activation="tanh", context=context)
        x, y = torch.randn(1, d), torch.randn(1, vector)
    seen, told = torch.autograd.functional.jacobian(lambda x, y: net(x, Context(vector=y))[0], (x, y))
    before = torch.tensor([[order.index(j) < order.index(i) for j in range(d)] for i in range(d)])
    assert torch.equal(seen[:, 0].ne(0), before.repeat(k, 1))
    assert told.ne(0).all()


def test_an_order_that_is_no_permutation_is_refused():
    with pytest.raises(UserError, match=r"the order \[0, 0, 1\] is no permutation of 0..2, expected each entry's"):
        MaskedMLP(order=[0, 0, 1], k=1, hidden=[4], activation="tanh", context={})
