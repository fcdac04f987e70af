"""Small tables that come with scikit-learn, split and normalized here: no paper has numbers on them."""

from numpy.random import RandomState

from genmodels.data.maf_tables import Rows, SplitRows, by_train_and_val

SEED = 0  # of the order of the rows


def breast_cancer() -> SplitRows:
    """569 cell nuclei: the mean, error and largest value of ten measurements."""
    from sklearn.datasets import load_breast_cancer  # heavy

    return fifths(load_breast_cancer().data)


def wine() -> SplitRows:
    """178 wines: thirteen chemical measurements, rounded."""
    from sklearn.datasets import load_wine  # heavy

    return fifths(load_wine().data)


def fifths(x: Rows) -> SplitRows:
    """In a random order: the last fifth of the rows is test, the fifth before it val; normalized over train and val."""
    x, n = RandomState(SEED).permutation(x), len(x) // 5
    return by_train_and_val((x[: -2 * n], x[-2 * n : -n], x[-n:]))
