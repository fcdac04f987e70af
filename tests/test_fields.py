"""Fields: what a tensor is, integers of any number of levels, and units of any number of levels."""

from pathlib import Path

import numpy as np
import pytest
import torch

from genmodels.data.base import check_values, default_kind
from genmodels.errors import UserError
from genmodels.fields import Field, label, require_samples, smallest_dtype
from genmodels.units import from_pixels, quantize, to_pixels, to_unit
from tests.test_data import make


@pytest.mark.parametrize(
    ("levels", "dtype"),
    [
        (2, torch.uint8),
        (256, torch.uint8),
        (257, torch.int16),
        (32768, torch.int16),
        (32769, torch.int32),
        (2**31, torch.int32),
        (2**31 + 1, torch.int64),
    ],
)
def test_integers_have_the_smallest_type_that_holds_them(levels: int, dtype: torch.dtype) -> None:
    assert smallest_dtype(levels) == dtype == Field("tokens", (3,), levels).dtype
    assert torch.tensor(levels - 1).to(dtype).item() == levels - 1


def test_a_field_says_what_it_is() -> None:
    assert str(Field("image", (1, 4, 4), 17)) == "image [1, 4, 4] of 0..16" and Field("image", (3, 4, 5), 2).dims == 60
    assert (
        str(Field("points", (2,), None)) == "points [2] of real" and Field("points", (2,), None).dtype.is_floating_point
    )
    assert label(None) == {} and label(10) == {"label": Field("label", (), 10)}


def test_what_samples_are_taken_for_where_nothing_says_it() -> None:
    assert [default_kind((1, 4, 4), 9), default_kind((7,), 9), default_kind((7,), None)] == [
        "image",
        "tokens",
        "points",
    ]


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.uint16])
def test_an_npz_of_many_levels_is_read_in_the_type_that_holds_them(tmp_path: Path, dtype: type) -> None:
    x = np.random.RandomState(0).randint(1000, size=(30, 16)).astype(dtype)
    np.savez(tmp_path / "a.npz", x=x)
    settings = {"path": str(tmp_path / "a.npz"), "shape": [16], "n_test": 5, "n_validation": 5}
    data = make("npz", **settings, levels=1000)
    splits = [data.split(name).x for name in ("train", "val", "test")]
    assert data.x == Field("tokens", (16,), 1000) and all(split.dtype == torch.int16 for split in splits)
    assert sorted(map(tuple, torch.cat(splits).tolist())) == sorted(map(tuple, x.tolist()))
    with pytest.raises(UserError, match=r"values \d\.\.999, expected 0\.\.899; correct data.levels"):
        make("npz", **settings, levels=900).split("train")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (torch.tensor([[0, 1000]], dtype=torch.int16), r"values 0\.\.1000, expected 0\.\.999"),
        (torch.tensor([[-1, 5]], dtype=torch.int16), r"values -1\.\.5, expected 0\.\.999"),
        (torch.tensor([[0, 5]]), "torch.int64 values, expected torch.int16 for levels=1000"),
        (torch.tensor([[0]], dtype=torch.int16), r"shape \[1\], expected \[2\]"),
    ],
)
def test_values_that_a_field_does_not_have_are_refused(values: torch.Tensor, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check_values(values, Field("tokens", (2,), 1000), "mine")


@pytest.mark.parametrize("levels", [2, 17, 256, 1000, 30000])
def test_units_of_any_number_of_levels_and_back(levels: int) -> None:
    x = torch.arange(levels).to(smallest_dtype(levels))
    assert quantize(to_unit(x, levels), levels).equal(x) and quantize(torch.tensor([-9.0, 9.0]), levels).tolist() == [
        0,
        levels - 1,
    ]
    pixels = to_pixels(x, levels)
    assert pixels.dtype == torch.uint8 and (pixels[0], pixels[-1]) == (0, 255)
    if levels <= 256:
        assert from_pixels(pixels, levels).equal(x)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (torch.zeros(2, 1, 2, 3), r"torch.float32 of shape \[2, 1, 2, 3\], expected those of the data: torch.uint8 of"),
        (
            torch.zeros(2, 2, 3).int(),
            r"of shape \[2, 2, 3\], expected .* \[n, 1, 2, 3\], each image \[1, 2, 3\] of 0..4",
        ),
        (torch.full((2, 1, 2, 3), 5), r"with values 5\.\.5, expected"),
        (torch.tensor(1), r"of shape \[\]"),
        ([0, 1], "got samples of list"),
    ],
)
def test_what_are_no_samples_is_refused(x, says):
    image = Field("image", (1, 2, 3), 5)
    require_samples(torch.full((2, 1, 2, 3), 4), image)
    with pytest.raises(UserError, match=says):
        require_samples(x, image)
