"""CIFAR-10 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html), the official binary or python version.

50,000 training and 10,000 test images of 32x32 in six files of 10,000.
"""

from genmodels.data.cifar import CIFAR, Version, parse_pickle, parse_rows

BATCH_FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


class CIFAR10(CIFAR):
    """Ten classes."""

    versions = (
        Version("cifar-10-batches-bin", "cifar-10-binary.tar.gz", [f"{file}.bin" for file in BATCH_FILES], parse_rows),
        Version("cifar-10-batches-py", "cifar-10-python.tar.gz", BATCH_FILES, parse_pickle),
    )
    rows = (10_000,) * 6
    kinds = {"labels": 10}
