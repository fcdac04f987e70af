"""Pictures: where every pixel stands, and that drawing them leaves training as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import nn

from genmodels.capabilities import (
    NO_CONDITION,
    Completes,
    Condition,
    Denoises,
    Encodes,
    Level,
    Moment,
    Samples,
    Translates,
)
from genmodels.data.base import Data, Split, Splits
from genmodels.errors import UserError
from genmodels.fields import Field, Fields, label
from genmodels.kinds.model_pictures import evenly_spaced
from genmodels.pictures import (
    BORDER,
    GREY,
    LINE,
    NO_CAPTIONS,
    WIDEST_BORDER,
    Captions,
    border_of,
    by_class,
    film_strip,
    grid,
    mosaic,
    save,
    stacked,
)
from genmodels.seeds import GLOBAL
from genmodels.training.callbacks.pictures import Pictures


def constant(*values: int, c: int = 1) -> torch.Tensor:
    """Images of 2x3 pixels, each of one value."""
    return torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, c, 2, 3)


def tile(picture: Image.Image, row: int, column: int, scale: int) -> np.ndarray:
    """Pixels of one cell of a picture of 2x3 images."""
    h, w = 2 * scale, 3 * scale
    top, left = BORDER + row * (h + BORDER), BORDER + column * (w + BORDER)
    return np.asarray(picture)[top : top + h, left : left + w]


def test_grid_places_scales_and_frames():
    picture = grid(constant(0, 8, 16, 4, 2), levels=17, columns=3, scale=2)
    assert picture.mode == "L" and picture.size == (3 * (6 + BORDER) + BORDER, 2 * (4 + BORDER) + BORDER)
    values = [(0, 0, 0), (0, 1, 128), (0, 2, 255), (1, 0, 64), (1, 1, 32), (1, 2, GREY)]
    for row, column, value in values:
        assert (tile(picture, row, column, 2) == value).all()
    assert (np.asarray(picture)[:BORDER] == GREY).all() and (np.asarray(picture)[:, -BORDER:] == GREY).all()


def test_grid_keeps_pixels_and_colours():
    x = torch.randint(0, 256, (1, 3, 2, 3), dtype=torch.uint8)
    picture = grid(x, levels=256, scale=3)
    assert picture.mode == "RGB"
    assert (tile(picture, 0, 0, 3)[::3, ::3] == x[0].permute(1, 2, 0).numpy()).all()
    assert (tile(picture, 0, 0, 3)[2::3, 1::3] == x[0].permute(1, 2, 0).numpy()).all()


@pytest.mark.parametrize(("n", "shape"), [(64, (1, 8, 8)), (64, (3, 32, 32)), (64, (1, 28, 28)), (4, (1, 8, 8))])
def test_small_images_are_magnified_for_people(n, shape):
    width, _ = grid(torch.zeros(n, *shape, dtype=torch.uint8), levels=2).size
    assert 600 <= width <= 1000


@pytest.mark.parametrize("columns", [1, 100])
def test_a_digit_can_be_looked_at_however_many_there_are(columns):
    picture = grid(torch.zeros(100, 1, 8, 8, dtype=torch.uint8), levels=2, columns=columns)
    assert min(picture.size) >= 32 and max(picture.size) / 100 <= 32 + WIDEST_BORDER + 1


@pytest.mark.parametrize(("scale", "gap"), [(1, 2), (10, 5), (100, 8)])
def test_images_do_not_touch(scale, gap):
    picture = np.asarray(grid(constant(0, 0), levels=2, columns=2, scale=scale))
    assert (picture[picture.shape[0] // 2] == GREY).sum() == 3 * gap


def test_a_column_for_each_class():
    picture = by_class(constant(1, 2, 3, 4, 5), torch.tensor([7, 2, 2, 9, 2]), levels=256, scale=30)
    bare = mosaic(constant(1, 2, 3, 4, 5), 256, [(0, 1), (0, 0), (1, 0), (0, 2), (2, 0)], scale=30)
    above = picture.height - bare.height
    assert above == 2 * LINE and (np.asarray(picture)[above:, : bare.width] == np.asarray(bare)).all()
    assert by_class(constant(1, 2, 3, 4), torch.full((4,), 3), levels=256).width > 800  # one class: a square
    square = grid(constant(*range(100)), levels=256)
    assert by_class(constant(*range(100)), torch.arange(100), levels=256).width == square.width


def test_captions_stand_above_and_beside_and_change_no_pixel():
    x = constant(*range(6))
    bare, said = (grid(x, 256, 3, 20, captions) for captions in (NO_CAPTIONS, Captions("t", ["a", "b", "c"], ["row"])))
    left, top = said.width - bare.width, said.height - bare.height
    assert top == 2 * LINE and 10 < left < 40
    pixels = np.asarray(said)
    assert (pixels[top:, left:] == np.asarray(bare)).all()
    border = border_of(20)
    blocks = [pixels[:LINE], *(pixels[LINE:top, left + i * 70 :][:, :70] for i in range(3))]
    blocks += [pixels[top + row * (40 + border) :][:40, :left] for row in range(2)]
    assert all((block > 200).any() for block in blocks)


def test_a_title_that_is_wider_than_its_picture_has_room():
    assert grid(constant(1), 256, scale=1, captions=Captions("a long title")).width > 60


def test_large_images_are_not_shrunk():
    assert grid(torch.zeros(9, 1, 600, 600, dtype=torch.uint8), levels=2).width >= 1800


def test_reconstruction_stands_below_its_original():
    picture = stacked([constant(1, 2, 3), constant(4, 5, 6)], levels=256, columns=2, scale=1)
    found = [[tile(picture, row, column, 1)[0, 0] for column in range(2)] for row in range(4)]
    assert found == [[1, 2], [4, 5], [3, GREY], [6, GREY]]


def test_film_strip_has_a_row_a_sample():
    picture = film_strip([constant(1, 2), constant(3, 4), constant(5, 6)], levels=256, scale=1)
    found = [[tile(picture, row, column, 1)[0, 0] for column in range(3)] for row in range(2)]
    assert found == [[1, 3, 5], [2, 4, 6]]


@pytest.mark.parametrize("x", [constant(), constant(1, c=2)])
def test_what_cannot_be_shown_is_refused(x):
    with pytest.raises(UserError, match="1 or 3"):
        grid(x, levels=256, columns=1)


def test_save_replaces_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "samples" / "last.png"
    for value in (1, 2):
        save(grid(constant(value), levels=256, scale=1), path)
    assert tile(Image.open(path), 0, 0, 1)[0, 0] == 2
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("length", "n", "expected"), [(5, 3, [0, 2, 4]), (2, 10, [0, 1]), (1, 4, [0]), (0, 3, [])])
def test_evenly_takes_first_last_and_between(length, n, expected):
    assert [int(x[0]) for x in evenly_spaced((torch.tensor([i]) for i in range(length)), n)] == expected


def test_evenly_of_a_long_film_is_nearly_even():
    moments = [int(x[0]) for x in evenly_spaced((torch.tensor([i]) for i in range(1000)), 10)]
    assert moments[0] == 0 and moments[-1] == 999 and len(moments) == 10
    assert all(80 <= after - before <= 140 for before, after in zip(moments, moments[1:], strict=False))


# The callback


class Everything(nn.Module, Samples, Encodes, Denoises, Translates):
    """Samples noise (of its own condition), encodes to whole numbers, films five moments, translates by adding."""

    domains = 2

    def __init__(self, condition: Fields):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout(0.5)
        self.condition = condition
        self.lacks = {Translates: "not asked for"}
        self.asked: list[Condition] = []

    def sample(self, n, condition=NO_CONDITION, rng=GLOBAL):
        assert not self.training and not torch.is_grad_enabled()
        self.asked.append(condition)
        return (17 * rng.uniform((n, 1, 8, 8), torch.device("cpu"))).to(torch.uint8)

    def encode(self, x, condition=NO_CONDITION):
        return x.long() + 1

    def decode(self, z, condition=NO_CONDITION):
        return (z - 1).to(torch.uint8)

    def denoiser(self, condition=NO_CONDITION):
        return lambda x, level: x

    def film(self, n, condition=NO_CONDITION, rng=GLOBAL):
        for i in range(5):
            x = torch.full((n, 1, 8, 8), i, dtype=torch.uint8)
            yield Moment(Level(torch.tensor(1.0), torch.tensor(4.0 - i)), 2 * x, x)

    def translate(self, x, source, target, rng=GLOBAL):
        return x + 1 + target


IMAGE = Field("image", (1, 4, 4), 5)  # of a condition: its own size and levels


class Toys(Data):
    """Six images of one grey value, with the numbers of two classes and a small image of their own."""

    def __init__(self, shape: tuple[int, ...], levels: int | None):
        super().__init__(name="toy", shape=shape, levels=levels, classes=2, batch_size=4)
        self.condition = {**self.condition, "image": IMAGE}

    def read(self) -> Splits:
        x = torch.full((6, *self.shape), 3, dtype=self.x.dtype)
        image = torch.arange(6, dtype=torch.uint8).clamp(max=4)[:, None, None, None].expand(-1, *IMAGE.shape)
        split = Split(x, {"label": torch.arange(6) // 4, "image": image})
        return Splits(split, split, split, training=split)

    def transform(self, x, generator):
        return x


class Toy(pl.LightningModule):
    """Several batches a step, as a GAN's critic needs, and a random number drawn at every batch."""

    automatic_optimization = False
    seed = 0
    last_loss = None
    cut_short = False

    def __init__(self, condition: Fields | None = None, shape: tuple[int, ...] = (1, 8, 8), levels: int | None = 17):
        super().__init__()
        self.model = Everything(condition or {})
        self.data = Toys(shape, levels)
        self.batches = 0
        self.drawn: list[float] = []
        self.global_steps: list[int] = []

    @property
    def images_seen(self) -> int:
        return 4 * self.batches

    @contextmanager
    def evaluating(self) -> Iterator[nn.Module]:
        with torch.no_grad():
            yield self.model.eval()
        self.model.train()

    def training_step(self, batch, batch_idx):
        self.batches += 1
        assert self.model.training
        self.drawn.append(torch.rand(()).item())
        if self.batches % 2 == 0:
            self.optimizers().step(lambda: self.manual_backward(self.model.weight**2))

    def configure_optimizers(self):
        return torch.optim.SGD(self.model.parameters(), lr=0.1)

    def train_dataloader(self):
        return [torch.zeros(4)] * 100


def train(toy: Toy, steps: int, *callbacks: pl.Callback) -> Toy:
    torch.manual_seed(0)
    pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(toy)
    return toy


def pictures(folder: Path) -> Pictures:
    return Pictures(dirpath=str(folder), every_n_steps=2, n=9, frames=3, split="val")


def test_pictures_are_drawn_once_a_step_and_training_does_not_notice(tmp_path):
    toy = train(Toy(), 5, pictures(tmp_path))
    marks = ["000000016", "000000032", "000000040"]  # at steps 2, 4 and, the last one, 5; 2 batches of 4 a step
    expected = {f"{kind}_{mark}.png" for kind in ("samples", "reconstructions", "film") for mark in marks}
    assert {path.name for path in tmp_path.iterdir()} == expected | {"last.png"}
    assert len(toy.model.asked) == 3
    assert toy.drawn == train(Toy(), 5).drawn


def test_pictures_are_comparable_over_time(tmp_path):
    train(Toy(), 4, pictures(tmp_path))
    first, second, last = (tmp_path / f"{name}.png" for name in ("samples_000000016", "samples_000000032", "last"))
    assert first.read_bytes() == second.read_bytes() == last.read_bytes()


def test_labels_come_in_order(tmp_path):
    toy = train(Toy(label(4)), 2, pictures(tmp_path))
    assert toy.model.asked[0]["label"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert train(Toy(), 2, pictures(tmp_path)).model.asked == [{}]


def test_other_conditions_are_rows_of_the_data_and_stand_above_samples_and_originals(tmp_path):
    toy = Toy({"image": IMAGE, **label(2)})
    picture = np.asarray(drawn(tmp_path, toy)["samples"])
    asked = toy.model.asked[0]
    assert asked["label"].tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0]  # six rows, and again from the first
    assert asked["image"].flatten(1)[:, 0].tolist() == [0, 1, 2, 3, 4, 4, 0, 1, 2]
    border, side = border_of(17), 8 * 17 + border_of(17)  # 27 images in ceil(sqrt(27)) = 6 columns: 17 x 48 pixels
    left = picture.shape[1] - 6 * side
    cells = [[picture[border + row * side, left + column * side] for column in range(6)] for row in (0, 2)]
    assert cells[0] == [0, 64, 128, 191, 255, 255] and set(cells[1]) == {round(3 * 255 / 16)}


def test_translations_stand_below_the_originals_of_their_domain(tmp_path):
    toy = Toy()
    toy.model.lacks = {}
    found = drawn(tmp_path, toy)
    assert {name for name in found if name.startswith("trans")} == {"translations_0_to_1", "translations_1_to_0"}
    values = {name: darker_than_captions(picture) for name, picture in found.items()}
    assert values["translations_0_to_1"] == {round(3 * 255 / 16), round(5 * 255 / 16)}
    assert values["translations_1_to_0"] == {round(3 * 255 / 16), round(4 * 255 / 16)}
    assert np.asarray(found["translations_1_to_0"]).sum() > 0


def test_points_in_space_have_no_pictures(tmp_path, capsys):
    train(Toy(shape=(3,), levels=None), 2, pictures(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    assert capsys.readouterr().err.count("no pictures: samples of toy (points [3] of real") == 1


class Completing(Everything, Completes):
    """Completions are 5 after the given pixels."""

    sites = 64

    def complete(self, x, given, condition=NO_CONDITION, rng=GLOBAL):
        assert not self.training and not torch.is_grad_enabled()
        return torch.cat([x.flatten(1)[:, :given], torch.full_like(x.flatten(1)[:, given:], 5)], 1).view(x.shape)

    def log_prob_rest(self, x, given, condition=NO_CONDITION):
        return torch.zeros(len(x))


def test_completions_have_the_upper_half_of_the_validation_images_above_them(tmp_path):
    toy = Toy()
    toy.model = Completing({})
    assert "completions" not in drawn(tmp_path, Toy())
    picture = np.asarray(drawn(tmp_path, toy)["completions"])
    border, scale = border_of(25), 25  # 2 rows of 6 images in ceil(sqrt(12)) = 4 columns
    cells = [picture[border + row * (8 * scale + border) :, -4 * (8 * scale + border) :] for row in (0, 1)]
    middles = [[cell[h, 4 * scale] for h in (scale, 6 * scale)] for cell in cells]
    three, five = round(3 * 255 / 16), round(5 * 255 / 16)
    assert middles == [[three, three], [three, five]]


def test_reconstructions_show_validation_images(tmp_path):
    toy = Toy()
    assert darker_than_captions(drawn(tmp_path, toy)["reconstructions"]) == {round(3 * 255 / 16)}


def darker_than_captions(picture: Image.Image) -> set[int]:
    return {value for value in np.unique(np.asarray(picture)).tolist() if value < GREY}


def drawn(folder: Path, toy: Toy) -> dict[str, Image.Image]:
    """The pictures of a model that was not trained."""
    public = {name: getattr(toy, name) for name in ("data", "evaluating", "seed", "device", "model")}
    return pictures(folder).draw(SimpleNamespace(**public))
