"""Many seeds at once are those that `fold` gives one by one."""

from random import Random

import numpy as np
import pytest

from genmodels import folds
from genmodels.folds import Folds
from genmodels.seeds import fold


@pytest.mark.parametrize("bits", [0, 1, 31, 32, 33, 63, 64, 65, 100])
def test_folds_of_arrays_are_those_of_their_entries(bits):
    random = Random(bits)
    for k in range(6):
        plain = [random.getrandbits(random.choice([1, 8, 32, 40])) for _ in range(k)]
        varying = np.array([random.getrandbits(32) for _ in range(3)], dtype=np.uint32)
        seed, at = random.getrandbits(bits), random.randint(0, k)
        many = folds.many(seed, *plain[:at], varying, *plain[at:])
        assert many == [fold(seed, *plain[:at], int(one), *plain[at:]) for one in varying]


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_seeds_in_any_order(seed):
    of_epochs = Folds(seed, lambda n: (2, *divmod(n, 10), 1))
    for n in [*range(25), 3, 10**6, 10**6 + folds.AT_ONCE, 10**6 - 1, 0, 4]:
        assert of_epochs[n] == fold(seed, 2, *divmod(n, 10), 1)


def test_a_number_of_more_than_32_bits_is_refused():
    with pytest.raises(OverflowError):
        Folds(0, lambda n: (n,))[2**32]
