"""Points from end to end: the densities of toy2d, a flow that learns them, what applies to them, their pictures."""

from collections.abc import Callable
from math import cos, e, log, pi, sin
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import InstantiationException
from PIL import Image
from scipy.spatial import cKDTree

import genmodels as package
from genmodels.data.base import Data
from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.fields import label
from genmodels.nn.flows.point_couplings import PointCouplings
from genmodels.pictures import BORDER
from genmodels.point_pictures import PANEL_SIDE, exact_density, histogram, on_grid, panels, window
from genmodels.run.results import read_results
from tests.helpers import CONFIGS, train_config

N = 50_000
CPU = torch.device("cpu")


def toy2d(*overrides: str) -> Data:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("data/toy2d", [f"data.{override}" for override in overrides]).data
    try:
        return hydra.utils.instantiate(config)
    except InstantiationException as error:
        raise error.__cause__ or error from None


def draws(distribution: str) -> np.ndarray:
    """50,000 points, (n, 2)."""
    data = toy2d(f"distribution={distribution}", "n_train=1", f"n_test={N}")
    x, condition = data.split("test")
    assert not condition and x.dtype == torch.float32 and x.shape == (N, 2) and data.name == distribution
    return x.double().numpy()


def near(found: object, expected: object, error: float = 0.01) -> bool:
    return bool(np.abs(np.asarray(found) - np.asarray(expected)).max() < error)


# The densities


def test_eight_gaussians():
    x = draws("8gaussians")
    radius, std = 4 / 1.414, 0.5 / 1.414
    modes = np.array([[radius * cos(k * pi / 4), radius * sin(k * pi / 4)] for k in range(8)])
    nearest = ((x[:, None] - modes) ** 2).sum(-1).argmin(1)
    assert near(np.bincount(nearest) / N, 1 / 8, 0.005)
    for k in range(8):
        mine = x[nearest == k]
        assert near(mine.mean(0), modes[k], 0.02) and near(mine.std(0), std, 0.01)


def log_p_of_eight_gaussians(x: np.ndarray) -> np.ndarray:
    """Mixture of eight round Gaussians, (n, 2) to (n,)."""
    radius, variance = 4 / 1.414, (0.5 / 1.414) ** 2
    modes = radius * np.exp(1j * pi / 4 * np.arange(8))
    squares = np.abs(x @ [1, 1j] - modes[:, None]) ** 2
    return np.logaddexp.reduce(-squares / (2 * variance)) - log(8 * 2 * pi * variance)


def test_entropy_of_eight_gaussians_is_that_of_the_mixture():
    axis = np.linspace(-6, 6, 601)
    cells = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    log_p = log_p_of_eight_gaussians(cells)
    area = (axis[1] - axis[0]) ** 2
    assert near((np.exp(log_p) * area).sum(), 1, 1e-6)
    entropy = -(np.exp(log_p) * log_p * area).sum()
    assert near(entropy, 2.832, 1e-3), "the figure that experiment/toy2d_realnvp.yaml states"
    assert near(-log_p_of_eight_gaussians(draws("8gaussians")).mean(), entropy, 0.01)


@pytest.mark.parametrize(("name", "radii", "std"), [("circles", [1.5, 3], 0.24), ("rings", [0.75, 1.5, 2.25, 3], 0.08)])
def test_circles_and_rings(name, radii, std):
    x = draws(name)
    radius = np.hypot(*x.T)
    nearest = np.abs(radius[:, None] - radii).argmin(1)
    assert near(np.bincount(nearest) / N, 1 / len(radii))
    for k, r in enumerate(radii):  # noise across the circle lengthens the radius a little: by std² / 2r
        assert near(radius[nearest == k].mean(), r + std**2 / (2 * r), 0.01)
    assert near(np.histogram(np.arctan2(*x.T), 12, (-pi, pi))[0] / N, 1 / 12, 0.005)
    outer = radius[radius > 3]
    assert near(np.sqrt(((outer - 3) ** 2).mean()), std, 0.03 * std + 0.005)


def test_moons():
    x = (draws("moons") - [-1, -0.2]) / 2
    assert near(x.mean(0), [0.5, 0.25])
    upper, lower = (np.hypot(*(x - center).T) for center in ([0, 0], [1, 0.5]))
    on_upper = np.abs(upper - 1) < np.abs(lower - 1)
    assert near(on_upper.mean(), 0.5, 0.02)
    assert near(np.minimum(np.abs(upper - 1), np.abs(lower - 1)).mean(), 0.1 * (2 / pi) ** 0.5, 0.01)
    assert x[on_upper, 1].mean() > 0.5 and x[~on_upper, 1].mean() < 0, "one is open below, the other above"


def test_swissroll():
    x = 5 * draws("swissroll")
    angle = np.linspace(1.5 * pi, 4.5 * pi, 200_001)
    curve = angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    assert near(x.mean(0), curve.mean(0), 0.1) and near(np.cov(x.T), np.cov(curve.T) + np.eye(2), 0.5)
    assert near(cKDTree(curve).query(x[:20_000])[0].mean(), (2 / pi) ** 0.5, 0.03)


def test_two_spirals():
    x = 3 * draws("2spirals")
    assert near(x.mean(0), 0, 0.05), "the arms are each other's mirror image"
    turn = 3 * pi * np.sqrt(np.linspace(0, 1, 200_001))  # r = angle, and r² uniform
    curve = np.stack([-np.cos(turn) * turn, np.sin(turn) * turn], 1) + 0.25  # the mean of a uniform number on [0, 0.5]
    second = curve.T @ curve / len(curve) + (0.25 / 12 + 0.09) * np.eye(2)
    assert near(x.T @ x / N, second, 0.3)
    across = (0.25 / 12 + 0.09) ** 0.5  # standard deviation, nearly normal
    assert near(cKDTree(np.concatenate([curve, -curve])).query(x[:20_000])[0].mean(), across * (2 / pi) ** 0.5, 0.02)


def test_checkerboard():
    x = draws("checkerboard")
    assert np.abs(x).max() <= 4
    column, row = np.clip(np.floor(x / 2), -2, 1).astype(int).T
    assert ((column + row) % 2 == 0).all(), "nothing lies on the other colour"
    squares, counts = np.unique([column, row], axis=1, return_counts=True)
    assert squares.shape[1] == 8 and near(counts / N, 1 / 8, 0.005)
    inside = x / 2 - np.floor(x / 2)
    assert near(inside.mean(0), 0.5) and near(inside.std(0), 12**-0.5)


def test_pinwheel():
    x = draws("pinwheel") / 2
    assert near(np.square(x).sum(1).mean(), 1 + 0.3**2 + 0.1**2, 0.02)
    # turned back by the angle of its distance, every arm is a Gaussian around one of five directions
    radius = np.hypot(*x.T)
    back = (np.angle(x @ [1, 1j]) + 0.25 * np.exp(radius)) / (2 * pi / 5)
    off = (back - back.round()) * 2 * pi / 5
    far = radius > 0.8
    assert near(off[far].mean(), 0, 0.02) and near((radius * off)[far].std(), 0.1, 0.02)
    assert near(np.bincount(back.round().astype(int) % 5) / N, 1 / 5)
    assert near(0.25 * e, 0.68, 0.01)


def test_the_sets_never_change_and_do_not_depend_on_each_other():
    """The numbers of every run on them rest on these points."""
    data = toy2d()
    assert len(data.split("train").x) == 1_000_000 and len(data.split("val").x) == 10_000
    expected = {"train": (2.27483, 1.599657), "val": (1.95461, -2.748228), "test": (-1.608438, -2.337291)}
    for name, point in expected.items():
        assert near(data.split(name).x[0], point, 1e-5)
    fewer = toy2d("n_train=10", "n_validation=5")
    assert torch.equal(fewer.split("test").x, data.split("test").x)
    assert not torch.equal(toy2d("n_train=10", "split_seed=1").split("test").x, data.split("test").x)


def test_a_negative_number_of_points_is_refused():
    with pytest.raises(UserError, match="expected 0 or more"):
        toy2d("n_test=-1")


# A flow of points, from end to end


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A short training with the default evaluators and callbacks."""
    folder = tmp_path_factory.mktemp("points") / "run"
    sizes = ["data.n_train=20000", "data.n_validation=1000", "data.n_test=5000"]
    defaults = ["callbacks=default", "evaluator=[likelihood,fid,inception_score]", "~callbacks.progress"]
    quick = ["trainer.max_steps=120", "optimizer.lr=5e-3", "ema.decay=0", "model.bijections.couplings.widths=[32,32]"]
    train(train_config(folder, "data=toy2d", "model=realnvp_points", *sizes, *defaults, *quick))
    return folder


def test_a_short_training_beats_the_best_gaussian(run_dir):
    (record,) = read_results(run_dir / "results.json")
    assert record["metric"] == "nll_nats" and record["split"] == "test"
    protocol = record["protocol"]
    assert (
        protocol["bound"] == "exact" and protocol["reference"] == "8gaussians/test" and protocol["n_reference"] == 5000
    )
    x = toy2d("n_test=5000").split("test").x.double().numpy()
    gaussian = (log(np.linalg.det(2 * pi * e * np.cov(x.T)))) / 2
    assert near(gaussian, 4.25, 0.05) and 2.8 < record["value"] < gaussian - 0.3


def test_what_scores_pictures_is_left_out_and_said(run_dir, genmodels, capsys):
    assert not (run_dir / "samples" / "fid.png").exists() and (run_dir / "checkpoints" / "best.ckpt").is_file()
    status, error = genmodels("evaluate", f"run={run_dir}", "evaluator=[fid]")
    assert status == 2 and "no evaluator applies to this model (fid: 8gaussians has no images" in error


def test_samples_of_points(run_dir, genmodels, tmp_path):
    model = package.load(run_dir)
    x = model.sample(100)
    assert x.dtype == torch.float32 and x.shape == (100, 2)
    for out, n in (("x.npz", 300), ("x.png", 300)):
        status, error = genmodels("sample", f"run={run_dir}", f"n={n}", f"out={out}")
        assert status == 0, error
    drawn = np.load("x.npz")
    assert drawn.files == ["x"] and drawn["x"].dtype == np.float32 and drawn["x"].shape == (300, 2)
    assert Image.open("x.png").size == (2 * (PANEL_SIDE + BORDER) + BORDER, PANEL_SIDE + 2 * BORDER)
    status, error = genmodels("sample", f"run={run_dir}", "out=folder")
    assert status == 2 and "unknown ending" in error and ".npz for arrays" in error


def test_a_model_of_images_refuses_points(genmodels):
    status, error = genmodels("train", "data=toy2d", "model=pixelcnn", "trainer=cpu", "logger=csv")
    assert status == 2 and "continuous" in error and "choose" in error and error.count("\n") == 1, error


def test_a_flow_of_points_refuses_images():
    with pytest.raises(UserError, match=r"\[1, 8, 8\], expected \[d\]"):
        PointCouplings(shape=(1, 8, 8), couplings=2, widths=[4], activation="relu", context={})


# Pictures


def gaussian(center: list[float], std: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def log_prob(x: torch.Tensor) -> torch.Tensor:
        return -((x - torch.tensor(center)) ** 2).sum(1) / (2 * std**2) - log(2 * pi * std**2)

    return log_prob


def test_histogram_and_density_agree_and_have_mass_one():
    x = torch.tensor([1.0, -2.0]) + 0.5 * torch.randn(40_000, 2, generator=torch.Generator().manual_seed(0))
    shown = window(x)
    side = float(shown[1][0] - shown[0][0])
    for cells in (histogram(x, shown), on_grid(gaussian([1.0, -2.0], 0.5), shown, CPU)):
        area = (side / len(cells)) ** 2
        assert near(cells.sum() * area, 1, 0.005) and near(cells.max(), 1 / (2 * pi * 0.25), 0.4)
        assert abs(int(cells.argmax()) // len(cells) - len(cells) / 2) < 0.1 * len(cells)


def test_the_highest_row_is_the_first():
    x = torch.tensor([[0.0, 0.0]] * 9 + [[10.0, 10.0]])
    cells = histogram(x, window(x))
    n = len(cells)
    assert cells[: n // 2, n // 2 :].count_nonzero() == 1 and cells[n // 2 :, : n // 2].count_nonzero() == 1
    upper = on_grid(gaussian([10.0, 10.0], 1.0), window(x), CPU)
    assert upper[:100, 100:].sum() > 0.99 * upper.sum()


def test_panels_stand_side_by_side_and_share_their_brightness():
    x = torch.randn(10_000, 2, generator=torch.Generator().manual_seed(0))
    picture = np.asarray(panels({"data": x, "samples": x * 3}, gaussian([0.0, 0.0], 1.0), CPU)).astype(int)
    assert picture.shape == (PANEL_SIDE + 2 * BORDER, 3 * (PANEL_SIDE + BORDER) + BORDER, 3)
    data, samples, density = (picture[50:, i * (PANEL_SIDE + BORDER) :][:, BORDER:PANEL_SIDE].sum(-1) for i in range(3))
    assert data.max() == 765 and samples.max() < 300, "three times as wide is a ninth as dense"
    assert near(density.mean(), data.mean(), 0.1 * data.mean())


def test_the_density_is_shown_where_it_is_exact_and_needs_no_label(run_dir):
    model = package.load(run_dir)
    assert exact_density(model) is not None
    model.bound = "elbo"
    assert exact_density(model) is None
    model.bound, model.condition = "exact", label(3)
    assert exact_density(model) is None


def test_pictures_while_training(run_dir):
    names = sorted(file.name for file in (run_dir / "samples").iterdir())
    assert names == ["last.png", f"samples_{120 * 64:09}.png"]
    assert Image.open(run_dir / "samples" / "last.png").size == (
        3 * (PANEL_SIDE + BORDER) + BORDER,
        PANEL_SIDE + 2 * BORDER,
    )
