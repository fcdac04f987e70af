"""Directions between mean codes: where they lead, for any model that encodes, from a run to a picture."""

import pytest
import torch
from PIL import Image
from torch import Tensor

import genmodels
from genmodels.capabilities import NO_CONDITION, Condition, Encodes
from genmodels.engine.train import train
from genmodels.errors import UserError
from tests.bijection_checks import randomised
from tests.helpers import build_model, train_config


class Halves(Encodes):
    """A code is half of the sample; with a condition, half of the difference from it."""

    def encode(self, x: Tensor, condition: Condition = NO_CONDITION) -> Tensor:
        return (x - condition.get("label", torch.zeros(len(x)))[:, None]) / 2

    def decode(self, z: Tensor, condition: Condition = NO_CONDITION) -> Tensor:
        return 2 * z + condition.get("label", torch.zeros(len(z)))[:, None]


class Indices(Encodes):
    def encode(self, x: Tensor, condition: Condition = NO_CONDITION) -> Tensor:
        return x.long()

    def decode(self, z: Tensor, condition: Condition = NO_CONDITION) -> Tensor:
        return z


def test_the_mean_code_is_that_of_all_batches():
    x = torch.randn(601, 3)
    torch.testing.assert_close(genmodels.mean_code(Halves(), x), x.mean(0) / 2)
    labels = torch.arange(601.0)
    torch.testing.assert_close(genmodels.mean_code(Halves(), x, {"label": labels}), (x - labels[:, None]).mean(0) / 2)


def test_codes_move_along_the_direction():
    x, direction = torch.randn(4, 3), torch.tensor([1.0, 0.0, -1.0])
    rows = genmodels.moved(Halves(), x, direction, [0, 1, -2], {"label": torch.ones(4)})
    torch.testing.assert_close(rows, [x, x + 2 * direction, x - 4 * direction])


def test_integer_codes_have_no_mean():
    with pytest.raises(UserError, match="codes of Indices are integers"):
        genmodels.mean_code(Indices(), torch.zeros(4, 3))


def test_the_way_of_a_flow_leads_from_an_image_to_another():
    """The direction between two images' codes: alpha 0 gives the first one, alpha 1 the second."""
    flow = randomised(build_model("realnvp", "model.bijections.realnvp.width=8"), 0.05).eval()
    x = torch.randint(17, (2, 1, 8, 8), dtype=torch.uint8)
    direction = genmodels.mean_code(flow, x[1:]) - genmodels.mean_code(flow, x[:1])
    start, middle, end = genmodels.moved(flow, x[:1], direction, [0, 0.5, 1])
    assert torch.equal(start, x[:1]) and torch.equal(end, x[1:])
    assert not torch.equal(middle, start) and not torch.equal(middle, end)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of a flow that is conditional on labels."""
    folder = tmp_path_factory.mktemp("run")
    small = ["model.bijections.glow.couplings=1", "model.bijections.glow.width=8", "model/conditioner=label"]
    train(train_config(folder, "trainer=smoke", "model=glow", *small))
    return folder


def test_a_run_gives_rows_and_a_picture(run, tmp_path):
    out = tmp_path / "rows.png"
    rows = genmodels.latent_direction(run, source=3, target=8, alphas=[0, 1], n=5, means_of=20, out=out)
    data = genmodels.latent_direction(run, source=3, target=8, alphas=[0], n=5, means_of=20)
    assert len(rows) == 2 and all(row.shape == (5, 1, 8, 8) and row.dtype == torch.uint8 for row in rows)
    assert torch.equal(rows[0], data[0]) and not torch.equal(rows[0], rows[1])
    with Image.open(out) as picture:
        assert min(picture.size) > 100


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"source": 10, "target": 8}, "the test split of digits has no samples of label 10"),
        ({"source": 3, "target": -1}, "no samples of label -1"),
        ({"source": 3, "target": 8, "n": 0}, "n is 0 and means_of 1000"),
        ({"source": 3, "target": 8, "out": "rows.gif"}, "out=rows.gif is no .png"),
    ],
)
def test_bad_arguments_are_refused_before_the_work(run, wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        genmodels.latent_direction(run, **wrong)


def test_a_model_without_codes_is_refused(tmp_path):
    train(
        train_config(tmp_path, "trainer=smoke", "model=dcgan", "model.generator.width=4", "model.discriminator.width=4")
    )
    with pytest.raises(UserError, match="GAN has no codes"):
        genmodels.latent_direction(tmp_path, source=0, target=1)
