"""Kinds of samples: what is drawn of them, what is written, and where a person may put them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from torch import nn

from genmodels.capabilities import HasLikelihood, Level, Moment
from genmodels.errors import UserError
from genmodels.fields import Field
from genmodels.kinds import KINDS, Kind, kind_of
from genmodels.kinds.base import NamedSamples, Pictured
from genmodels.kinds.image import Image
from genmodels.kinds.points import Points
from genmodels.kinds.tokens import SEPARATOR, Tokens, text_picture
from genmodels.pictures import LINE, WIDEST_BORDER, Captions, by_class, grid

IMAGE, POINT, TEXT = Field("image", (1, 2, 3), 5), Field("points", (2,), None), Field("tokens", (4,), 3, "ab\n")


@pytest.mark.parametrize(
    ("of", "kind"),
    [
        (IMAGE, Image),
        (Field("image", (3, 2, 3), 256), Image),
        (Field("image", (2, 2, 3), 256), Kind),  # two channels are no picture
        (POINT, Points),
        (Field("points", (3,), None), Kind),
        (TEXT, Tokens),
        (Field("wave", (100,), 256), Kind),
        ({"nodes": TEXT, "edges": TEXT}, Kind),
    ],
)
def test_the_kind_of_a_field(of, kind):
    assert type(kind_of(of)) is kind and isinstance(kind_of(of), Pictured) is (kind is not Kind)


def test_every_kind_has_a_way_for_the_file_it_proposes():
    for kind in (Kind, *KINDS.values()):
        assert Path(kind.file).suffix in kind(IMAGE).formats(None) and ".npz" in kind(IMAGE).formats(None)


def test_images_are_kept_as_a_grid_as_arrays_and_as_files(tmp_path):
    x, kind = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 3), kind_of(IMAGE)
    for name in ("deep/a.png", "a.npz", "folder"):
        kind.save(x, tmp_path / name, None)
    assert np.array_equal(
        np.asarray(Picture.open(tmp_path / "deep" / "a.png")), np.asarray(grid(x, 5, captions=Captions("samples")))
    )
    arrays = np.load(tmp_path / "a.npz")
    assert arrays["images"].tolist() == x.tolist() and arrays["levels"] == 5 and sorted(arrays) == ["images", "levels"]
    files = sorted((tmp_path / "folder").iterdir())
    assert [file.name for file in files] == [f"{i:06}.png" for i in range(5)]
    assert [np.asarray(Picture.open(file))[0, 0] for file in files] == [0, 64, 128, 191, 255]
    with pytest.raises(UserError, match="the folder .*folder is not empty"):
        kind.save(x, tmp_path / "folder", None)
    with pytest.raises(
        UserError, match=r"a.gif has an unknown ending; use .png for a grid, .npz for arrays, no ending"
    ):
        kind.save(x, tmp_path / "a.gif", None)


def test_images_of_other_sizes_and_levels_stand_above_each_other():
    """A grey condition of half the size above a sample in colour."""
    above = NamedSamples("", torch.full((1, 1, 1, 1), 1, dtype=torch.uint8), Field("image", (1, 1, 1), 2))
    x = torch.tensor([0, 2, 4], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 2, 3)
    below = NamedSamples("a name", x, Field("image", (3, 2, 3), 5))
    picture = np.asarray(kind_of(below.field).stacked([above, below]))
    border, columns = WIDEST_BORDER, 800 // 4 * 3  # four rows of pixels in 800
    left, side = picture.shape[1] - columns - border, border + 400
    assert (picture[border:side, left:-border] == 255).all()
    assert picture[side + border, left].tolist() == [0, 128, 255]
    assert 30 < left < 100 and (picture[side + border :, : left - border] == 255).any()  # the name


def test_texts_stand_above_each_other():
    data, other = torch.tensor([[0, 1, 2, 0], [1, 1, 1, 1]]), torch.tensor([[0, 1, 0, 0], [1, 1, 0, 0]])
    picture = kind_of(TEXT).stacked([NamedSamples("data", data, TEXT), NamedSamples("completion", other, TEXT)])
    expected = SEPARATOR.join(["data:\nab\na\ncompletion:\nabaa", "data:\nbbbb\ncompletion:\nbbaa"])
    assert np.array_equal(np.asarray(picture), np.asarray(text_picture(expected)))


class Conditional:
    def __init__(self, **fields):
        self.condition = fields


def test_images_stand_by_what_they_are_conditioned_on():
    x, kind = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 3) % 5, kind_of(IMAGE)
    labels, given = torch.arange(6) % 3, Field("image", (1, 1, 1), 2)
    by_label = kind.picture(x, Conditional(label=Field("label", (), 3)), {"label": labels})
    assert np.array_equal(np.asarray(by_label), np.asarray(by_class(x, labels, 5)))
    below = kind.picture(x, Conditional(image=given), {"image": torch.ones(6, 1, 1, 1, dtype=torch.uint8)})
    beside = kind.picture(x, Conditional(image=given), {"image": torch.ones(6, 1, 1, 1, dtype=torch.uint8)}, data=x)
    assert np.array_equal(
        np.asarray(below),
        np.asarray(
            kind.stacked(
                [
                    NamedSamples("image", torch.ones(6, 1, 1, 1, dtype=torch.uint8), given),
                    NamedSamples("sample", x, IMAGE),
                ]
            )
        ),
    )
    assert below.height != beside.height


def test_a_film_has_rows_of_the_noise_and_of_the_estimates():
    frames = [torch.full((2, 1, 2, 3), i, dtype=torch.uint8) for i in range(5)]
    moments = [Moment(Level(torch.tensor(1.0), torch.tensor(2.0)), noisy, frames[4]) for noisy in frames[:3]]
    picture = np.asarray(kind_of(IMAGE).film(moments))
    expected = np.asarray(grid(torch.cat([torch.cat([m.noisy[:1] for m in moments]), *[frames[4][:1]] * 3] * 2), 5, 3))
    top, left = (a - b for a, b in zip(picture.shape, expected.shape, strict=True))
    assert np.array_equal(picture[top:, left:], expected) and top == 2 * LINE and left > 30


class Density(nn.Module, HasLikelihood):
    """A standard normal density that is exact, or not."""

    def __init__(self, bound: str):
        super().__init__()
        self.bound, self.weight = bound, nn.Parameter(torch.zeros(()))

    def log_prob(self, x, condition=None, *, draws=None):
        return -(x**2).sum(1) / 2 - 1.8379


@pytest.mark.parametrize(("bound", "panels"), [("exact", 3), ("elbo", 2)])
def test_points_stand_beside_the_data_and_an_exact_density(bound, panels):
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    picture = kind_of(POINT).picture(x, Density(bound), data=x)
    assert round(picture.width / picture.height) == panels
    without = kind_of(POINT).picture(None, Density("exact"), data=x)
    assert round(without.width / without.height) == 2


def test_points_in_space_are_arrays(tmp_path):
    x = torch.randn(4, 3)
    kind = kind_of(Field("points", (3,), None))
    kind.save(x, tmp_path / "a.npz", None)
    assert np.array_equal(np.load(tmp_path / "a.npz")["x"], x.numpy())
    with pytest.raises(UserError, match="unknown ending; use .npz for arrays"):
        kind.save(x, tmp_path / "a.png", None)


def test_tokens_are_read_by_their_vocabulary(tmp_path):
    x = torch.tensor([[0, 1, 2, 0], [1, 1, 1, 1]], dtype=torch.uint8)
    kind = kind_of(TEXT)
    assert kind.text(x) == f"ab\na{SEPARATOR}bbbb" and kind_of(IMAGE).text(x) is None
    for name in ("a.txt", "folder", "a.npz"):
        kind.save(x, tmp_path / name, None)
    assert (tmp_path / "a.txt").read_text() == kind.text(x)
    assert [file.read_text() for file in sorted((tmp_path / "folder").iterdir())] == ["ab\na", "bbbb"]
    assert np.load(tmp_path / "a.npz")["x"].tolist() == x.tolist()
    assert kind_of(TEXT._replace(vocabulary=None)).text(x) == f"0 1 2 0{SEPARATOR}1 1 1 1"


def test_the_picture_of_a_text_has_room_for_all_of_it():
    few, many = (kind_of(TEXT).picture(torch.zeros(n, 4, dtype=torch.uint8), SimpleNamespace()) for n in (1, 6))
    wide = kind_of(Field("tokens", (300,), 3, "ab\n")).picture(torch.zeros(1, 300, dtype=torch.uint8), None)
    assert many.height > 3 * few.height and np.asarray(few).min() < 100
    assert wide.height > 1.5 * few.height and wide.width < 120 * 13  # long lines are broken
