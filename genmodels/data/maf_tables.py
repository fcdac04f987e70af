"""How MAF's authors preprocess public tables (Papamakarios et al. 2017, https://arxiv.org/abs/1705.07057, appendix D).

Arrays to arrays, float64, step by step as in the authors' published code (https://github.com/gpapamak/maf), which
later papers on density estimation use too. The steps differ from table to table: the rows whose moments normalize a
column, whether these include the test rows, and whether the standard deviation divides by n or by n - 1.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy.random import RandomState

Rows = Float[np.ndarray, "_ d"]
SplitRows = tuple[Rows, Rows, Rows]  # train, val, test

POWER_SEED = 42
CORRELATED = 0.98  # GAS: of two columns with a higher correlation only the last is kept
REPEATED = 5  # HEPMASS: a column whose smallest value occurs more often is dropped


def power(x: Float[np.ndarray, "n 8"]) -> SplitRows:
    """Household power: rows shuffled, two columns dropped, uniform noise on the rounded measurements.

    Columns: active power, reactive power, voltage, intensity, three sub-meters, time of day.
    """
    rng = RandomState(POWER_SEED)
    x = x.astype(np.float64)
    rng.shuffle(x)
    x = np.delete(x, [1, 3], axis=1)
    n = len(x)
    voltage = 0.01 * rng.rand(n, 1)  # the order of these draws matters
    active = 0.001 * rng.rand(n, 1)
    meters = rng.rand(n, 3)
    x += np.hstack([active, voltage, meters, np.zeros((n, 1))])
    return by_train_and_val(tenths(x))


def gas(x: Float[np.ndarray, "n 16"]) -> SplitRows:
    """Sixteen gas sensors, without highly correlated ones; normalized over all rows, test included."""
    x = x.astype(np.float64)
    x = x[:, uncorrelated(x)]
    return tenths((x - x.mean(0)) / x.std(0, ddof=1))


def hepmass(train: Float[np.ndarray, "n 28"], test: Float[np.ndarray, "m 28"]) -> SplitRows:
    """Collisions with the particle (label 1, the first column), without discrete features; an official test set."""
    train, test = (x[x[:, 0] == 1, 1:] for x in (train, test))
    mean, std = train.mean(0), train.std(0, ddof=1)
    train, test = (train - mean) / std, (test - mean) / std
    continuous = (train == train.min(0)).sum(0) <= REPEATED
    train, val = hold_out_last_tenth(train[:, continuous])
    return train, val, test[:, continuous]


def miniboone(x: Rows) -> SplitRows:
    """Neutrino events; the authors have already removed outliers and discrete features."""
    return by_train_and_val(tenths(x.astype(np.float64)))


def uncorrelated(x: Rows) -> Bool[np.ndarray, " d"]:
    """Columns that remain after repeatedly removing the first one that is correlated with another."""
    near = np.corrcoef(x, rowvar=False) > CORRELATED
    kept = np.ones(len(near), bool)
    while (repeated := kept & ((near & kept).sum(1) > 1)).any():
        kept[repeated.argmax()] = False
    return kept


def hold_out_last_tenth(x: Rows) -> tuple[Rows, Rows]:
    n = len(x) - int(0.1 * len(x))
    return x[:n], x[n:]


def tenths(x: Rows) -> SplitRows:
    """The last tenth of the rows is test, the last tenth of the others is val."""
    rest, test = hold_out_last_tenth(x)
    train, val = hold_out_last_tenth(rest)
    return train, val, test


def by_train_and_val(parts: SplitRows) -> SplitRows:
    """Every column with mean 0 and standard deviation 1 over train and val."""
    train, val, test = parts
    known = np.vstack([train, val])
    mean, std = known.mean(0), known.std(0)
    return (train - mean) / std, (val - mean) / std, (test - mean) / std
