"""CIFAR-100 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html), the official binary or python version.

50,000 training and 10,000 test images of 32x32. Each has a coarse label, one of 20 superclasses, and a fine label, one
of the 100 classes; `data.classes` selects which is read.
"""

from genmodels.data.cifar import CIFAR, Version, parse_pickle, parse_rows


class CIFAR100(CIFAR):
    """100 classes, or 20 superclasses."""

    versions = (
        Version("cifar-100-binary", "cifar-100-binary.tar.gz", ("train.bin", "test.bin"), parse_rows),
        Version("cifar-100-python", "cifar-100-python.tar.gz", ("train", "test"), parse_pickle),
    )
    rows = (50_000, 10_000)
    kinds = {"coarse_labels": 20, "fine_labels": 100}
