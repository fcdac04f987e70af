"""Metrics over samples: against reference implementations, closed forms and their definitions in plain loops."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from genmodels.errors import UserError
from genmodels.evaluators import bank, pairs
from genmodels.evaluators.features.module import AnyModule
from genmodels.evaluators.metrics.density_coverage import DensityCoverage
from genmodels.evaluators.metrics.fid import FID, frechet_distance, intercept, sizes, square_root
from genmodels.evaluators.metrics.inception_score import InceptionScore
from genmodels.evaluators.metrics.kid import KID, mmd
from genmodels.evaluators.metrics.nearest_neighbours import NearestNeighbours, beside
from genmodels.evaluators.metrics.precision_recall import PrecisionRecall
from genmodels.evaluators.reference import Reference
from genmodels.evaluators.shown import Show
from genmodels.evaluators.subject import GeneratedBatch, Subject
from tests.test_evaluators import FakeData, Model

CPU = torch.device("cpu")
FIXTURE = np.load(Path(__file__).parent / "fixtures" / "metrics_reference.npz")
REAL, FAKE, LOGITS = (torch.from_numpy(FIXTURE[name]) for name in ("real", "fake", "logits"))


def reference(f):
    """What is known of real images with features f."""

    class Known(Reference):
        name, fingerprint, n = "data/train", "0", len(f)
        mu, sigma = f.double().mean(0), torch.cov(f.double().T)

        def __init__(self):
            pass

        def features(self):
            return f

    return Known()


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stream(metric, features, logits=None, batch=64, order=None):
    """The metric over rows given in batches, in another order where one is given."""
    logits = features[:, :3] if logits is None else logits
    metric.allocate(features.shape[1], logits.shape[1])
    for i in (order if order is not None else torch.arange(len(features))).split(batch):
        pixels = torch.zeros(len(i), 1, 1, 1, dtype=torch.uint8)
        metric.update(GeneratedBatch(features[i], logits[i], pixels, {}, i))
    return metric


def look(metric, pixels):
    """Shows the metric the samples themselves, as it is streamed them."""
    n = len(pixels)
    metric.update(GeneratedBatch(torch.zeros(n, 1), torch.zeros(n, 1), pixels, {}, torch.arange(n)))


def fid(n, extrapolate=None):
    return FID(n=n, reference="train", extrapolate=extrapolate)


def kid(n, subsets=1, subset_size=None, seed=0):
    return KID(n=n, reference="train", subsets=subsets, subset_size=subset_size, seed=seed)


def precision_recall(n, k=3):
    return PrecisionRecall(n=n, reference="train", k=k)


def density_coverage(n, k=5):
    return DensityCoverage(n=n, reference="train", k=k)


def nearest_neighbours(n, k=2, rows=3):
    return NearestNeighbours(n=n, reference="train", k=k, rows=rows)


def values(metric, real, fake, **how):
    """Every score of the metric by its kind."""
    return {score.kind: score.value for score in stream(metric, fake, **how).compute(reference(real), fake)}


# Fréchet distance


def test_fid_equals_the_reference_implementation():
    value = values(fid(len(FAKE)), REAL, FAKE, batch=97)["fid"]
    assert value == pytest.approx(float(FIXTURE["fid"]), rel=1e-6)


@pytest.mark.parametrize("n", [1500, 40])  # full and deficient rank
def test_fid_of_a_set_against_itself_is_zero(n):
    assert abs(values(fid(n), REAL[:n], REAL[:n])["fid"]) < 1e-6


def test_frechet_distance_of_diagonal_gaussians():
    mu1, mu2, s1, s2 = torch.rand(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s1[0] = 0  # a direction without variance
    expected = (mu1 - mu2).square().sum() + (s1 - s2).square().sum()
    assert frechet_distance(mu1, s1.square().diag(), mu2, s2.square().diag()) == pytest.approx(float(expected))
    nothing = torch.zeros(5, 5, dtype=torch.float64)  # every sample the same
    expected = (mu1 - mu2).square().sum() + s2.square().sum()
    assert frechet_distance(mu1, nothing, mu2, s2.square().diag()) == pytest.approx(float(expected))


def test_frechet_distance_is_symmetric_and_invariant_under_rotation():
    a, b, c = draws(3, 6, 6, seed=1).double()
    q = torch.linalg.qr(c).Q
    mu1, mu2, sigma1, sigma2 = a[0], b[0], a @ a.T, b @ b.T
    d = frechet_distance(mu1, sigma1, mu2, sigma2)
    assert frechet_distance(mu2, sigma2, mu1, sigma1) == pytest.approx(d)
    assert frechet_distance(q @ mu1, q @ sigma1 @ q.T, q @ mu2, q @ sigma2 @ q.T) == pytest.approx(d)


@pytest.mark.parametrize("n", [30, 500])  # samples against 100 dimensions whose variances span 12 orders
def test_frechet_distance_is_accurate_on_steep_spectra(n):
    scale = torch.logspace(1, -5, 100, dtype=torch.float64)
    sigma1, sigma2 = (torch.cov((draws(m, 100, seed=m).double() * scale).T) for m in (n, 400))
    a = square_root(sigma1)
    assert a.shape == (100, min(n - 1, 100)) and torch.allclose(a @ a.T, sigma1, rtol=1e-12, atol=1e-12)
    w, v = torch.linalg.eigh(sigma2)
    b = v * w.clamp(min=0).sqrt()
    overlap = torch.linalg.svdvals(a.T @ b).sum()  # the trace without squaring
    exact = sigma1.trace() + sigma2.trace() - 2 * overlap
    mu = torch.zeros(100, dtype=torch.float64)
    assert frechet_distance(mu, sigma1, mu, sigma2) == pytest.approx(float(exact), abs=1e-6)


# FID-infinity


def test_line_through_fids_has_the_true_intercept():
    n = [100, 150, 300, 1000]
    assert intercept(n, [2.5 + 40 / m for m in n]) == pytest.approx(2.5)
    assert sizes(50_000, 10) == list(range(5000, 50_001, 5000))


@pytest.mark.parametrize(("shift", "scale"), [(0, 1), (0.5, 1.5)])
def test_fid_infinity_takes_away_the_bias_of_few_samples(shift, scale):
    d, n, sets = 20, 300, 20
    real = draws(50_000, d, seed=100)
    truth = frechet_distance(*gaussian(d, shift, scale), *gaussian(d, 0, 1))
    assert truth == pytest.approx(d * (shift**2 + (scale - 1) ** 2))
    found = [values(fid(n, extrapolate=10), real, shift + scale * draws(n, d, seed=i)) for i in range(sets)]
    bias, left = (np.mean([v[kind] for v in found]) - truth for kind in ("fid", "fid_infinity"))
    assert bias > 0.3 and abs(left) < bias / 3
    assert found[0]["fid"] == pytest.approx(values(fid(n), real, shift + scale * draws(n, d, seed=0))["fid"], rel=1e-10)


def gaussian(d, shift, scale):
    return torch.full((d,), float(shift), dtype=torch.float64), scale**2 * torch.eye(d, dtype=torch.float64)


def test_fid_infinity_stands_beside_fid_and_names_its_numbers():
    plain, infinity = stream(fid(600, extrapolate=15), FAKE[:600]).compute(reference(REAL))
    assert (plain.kind, infinity.kind) == ("fid", "fid_infinity")
    assert infinity.protocol["extrapolated_from"] == sizes(600, 15)
    assert "note" not in plain.protocol
    assert infinity.protocol["note"] == "covariance is rank-deficient: 60 samples, 64 dimensions"


def test_fid_infinity_takes_its_subsets_at_random():
    """Samples sorted by class: the first ones alone are no sample of all."""
    fake = torch.cat([draws(300, 4, seed=1) - 3, draws(300, 4, seed=2) + 3])
    found = values(fid(600, extrapolate=10), fake, fake)
    assert abs(found["fid_infinity"]) < 0.5


# Inception Score


def test_inception_score_equals_the_reference_implementation_in_any_order():
    order = torch.randperm(len(LOGITS), generator=torch.Generator().manual_seed(0))
    (score,) = stream(InceptionScore(n=len(LOGITS), splits=10), LOGITS, LOGITS, order=order).compute()
    assert score.value == pytest.approx(float(FIXTURE["isc_mean"]), rel=1e-5)
    assert score.std == pytest.approx(float(FIXTURE["isc_std"]), rel=1e-5)
    assert score.protocol == {"splits": 10, "splits_order": "consecutive"}


def test_inception_score_of_uniform_probabilities_is_one():
    zeros = torch.zeros(30, 7)
    (score,) = stream(InceptionScore(n=30, splits=3), zeros, zeros, 8).compute()
    assert score.value == pytest.approx(1, abs=1e-12)


def test_inception_score_of_balanced_certain_classes_is_their_number():
    logits = 1000 * torch.eye(7).repeat(6, 1)
    (score,) = stream(InceptionScore(n=42, splits=3), logits, logits, 8).compute()
    assert score.value == pytest.approx(7)


def test_splits_are_consecutive_and_uneven_where_n_does_not_divide():
    logits = torch.zeros(11, 2)
    metric = stream(InceptionScore(n=11, splits=3), logits, logits, 4)
    assert metric.count.tolist() == [3, 4, 4]  # floor(11 s / 3): 0, 3, 7, 11


# KID


def test_kid_equals_the_reference_implementation():
    (score,) = stream(kid(len(FAKE)), FAKE).compute(reference(REAL), FAKE)
    assert score.value == pytest.approx(float(FIXTURE["kid_full"]), abs=1e-9)
    assert score.std is None and score.protocol["subset_size"] is None


def test_kid_by_subsets_is_within_the_reference_implementations_spread():
    (score,) = stream(kid(len(FAKE), 100, 1000), FAKE).compute(reference(REAL), FAKE)
    mean, std = (float(FIXTURE[f"kid_{what}_100x1000"]) for what in ("mean", "std"))
    assert abs(score.value - mean) < 4 * std / 100**0.5
    assert score.std == pytest.approx(std, rel=0.3)
    assert score.protocol | {"subsets": 100, "subset_size": 1000, "subset_seed": 0} == score.protocol


def test_kid_by_its_definition():
    x, y = draws(7, 4).double(), draws(5, 4, seed=1).double()

    def mean_kernel(a, b, same):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
        return sum((float(a[i] @ b[j]) / 4 + 1) ** 3 for i, j in pairs) / len(pairs)

    expected = mean_kernel(x, x, True) + mean_kernel(y, y, True) - 2 * mean_kernel(x, y, False)
    assert float(mmd(x.float(), y.float(), CPU)) == pytest.approx(expected, rel=1e-5)


def test_kid_depends_on_its_own_seed_alone():
    torch.manual_seed(1)
    first, state = values(kid(90, 5, 20), REAL[:80], FAKE[:90]), torch.get_rng_state()
    torch.manual_seed(2)
    assert values(kid(90, 5, 20), REAL[:80], FAKE[:90]) == first
    assert values(kid(90, 5, 20, seed=1), REAL[:80], FAKE[:90]) != first
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_subsets_of_all_samples_are_all_samples():
    by_subsets = stream(kid(80, 3, 80), FAKE[:80]).compute(reference(REAL[:80]), FAKE[:80])[0]
    assert by_subsets.value == pytest.approx(values(kid(80), REAL[:80], FAKE[:80])["kid"], abs=1e-12)
    assert by_subsets.std == pytest.approx(0, abs=1e-12)


# Precision, recall, density, coverage


def test_precision_and_recall_equal_the_reference_implementations():
    found = values(precision_recall(len(FAKE)), REAL, FAKE)
    assert found == {"precision": 208 / 1200, "recall": 1413 / 1500}
    assert np.float32(found["precision"]) == FIXTURE["precision"].astype(np.float32)
    assert np.float32(found["recall"]) == FIXTURE["recall"].astype(np.float32)


def by_definition(real, fake, k):
    """Precision, recall, density and coverage in the words of their papers."""

    def ball(f, i):
        others = sorted(float((f[i] - f[j]).norm()) for j in range(len(f)) if j != i)
        return others[k - 1]

    real_radii, fake_radii = ([ball(f, i) for i in range(len(f))] for f in (real, fake))
    holds = [[float((x - y).norm()) <= r for y in fake] for x, r in zip(real, real_radii, strict=True)]  # [real][fake]
    held = [[float((x - y).norm()) <= r for y, r in zip(fake, fake_radii, strict=True)] for x in real]
    return {
        "precision": np.mean(np.any(holds, axis=0)),
        "recall": np.mean(np.any(held, axis=1)),
        "density": np.sum(holds) / (k * len(fake)),
        "coverage": np.mean(np.any(holds, axis=1)),
    }


@pytest.mark.parametrize("k", [1, 3, 5])
def test_manifold_metrics_by_their_definitions(k):
    real, fake = draws(31, 3), 0.7 * draws(23, 3, seed=1)
    found = values(precision_recall(23, k), real, fake) | values(density_coverage(23, k), real, fake)
    assert found == pytest.approx(by_definition(real.double(), fake.double(), k), abs=1e-12)


def test_a_set_against_itself():
    """Every ball holds its own image, and the k nearest of which the last lies on its border."""
    assert values(precision_recall(300), REAL[:300], REAL[:300]) == {"precision": 1, "recall": 1}
    assert values(density_coverage(300), REAL[:300], REAL[:300]) == {"density": 6 / 5, "coverage": 1}


def test_equal_images_are_at_distance_zero():
    """Balls around images that are there many times have radius 0, and hold their copies."""
    real = 100 + draws(5, 40).repeat(6, 1)
    assert values(precision_recall(30), real, real.flip(0)) == {"precision": 1, "recall": 1}
    assert values(precision_recall(30), real, real + 0.01) == {"precision": 0, "recall": 0}


def test_results_do_not_depend_on_the_tiles(monkeypatch):
    metrics = {"kid": kid, "precision_recall": precision_recall, "density_coverage": density_coverage}
    metrics["nearest"] = nearest_neighbours
    whole = {name: values(make(len(FAKE)), REAL, FAKE) for name, make in metrics.items()}
    monkeypatch.setattr(pairs, "TILE_ROWS", 170)
    monkeypatch.setattr(pairs, "TILE_COLUMNS", 333)
    monkeypatch.setattr(bank, "ROWS_AT_ONCE", 100)
    order = torch.randperm(len(FAKE), generator=torch.Generator().manual_seed(0))
    for name, make in metrics.items():
        found = values(make(len(FAKE)), REAL, FAKE, batch=101, order=order)
        assert found == (pytest.approx(whole[name], rel=1e-11) if name == "kid" else whole[name]), name


# Nearest neighbours


def test_copies_of_training_images_are_found():
    real = draws(50, 8)
    fake = real[torch.tensor([7, 30, 11, 2])]
    metric = stream(nearest_neighbours(4), fake)
    (score,) = metric.compute(reference(real), fake)
    assert metric.neighbours.shape == (3, 2) and metric.neighbours[:, 0].tolist() == [7, 30, 11]
    gaps = torch.cdist(real, real) + 1000 * torch.eye(50)
    assert score.kind == "nearest_distance" and score.value == 0
    assert score.protocol["distance_within_reference"] == pytest.approx(gaps[:4].min(1).values.mean().item(), rel=1e-5)
    assert metric.neighbours[0, 1] == gaps[7].argmin()


def test_picture_shows_each_sample_before_its_neighbours():
    levels = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1).expand(50, 1, 8, 8)
    real = draws(50, 8)
    chosen = torch.tensor([7, 30, 11, 2])
    metric = stream(nearest_neighbours(4), real[chosen])
    look(metric, levels[chosen])
    metric.compute(reference(real), real[chosen])
    shown = []
    metric.show(lambda i: levels[i], "toy/train", Show(picture=lambda *it: shown.append(it)))
    ((kind, picture),) = shown
    pixels = np.asarray(picture)
    assert kind == "nearest_distance"
    inner = pixels[60::202, 60::202]  # 3 rows of a sample, a gap and 2 neighbours, each 8 pixels 25 times as large
    assert inner[:, 0].tolist() == [7, 30, 11] == inner[:, 2].tolist()
    assert inner[:, 1].tolist() == [96] * 3 and inner[:, 3].tolist() == metric.neighbours[:, 1].tolist()


def test_the_nearest_image_of_each_sample_with_its_number_and_distance():
    levels = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1).expand(50, 1, 8, 8)
    real = draws(50, 8)
    fake = real[torch.tensor([7, 30, 11, 2])] + 0.1
    metric = stream(nearest_neighbours(4), fake)
    look(metric, levels[:4])
    metric.compute(reference(real), fake)
    shown = []
    metric.show(lambda i: levels[i], "toy/train", Show(neighbours=lambda *it: shown.append(it)))
    ((kind, found),) = shown
    assert kind == "nearest_distance" and found.reference == "toy/train"
    assert found.samples[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert found.index.tolist() == found.nearest[:, 0, 0, 0].tolist() == [7, 30, 11]
    assert found.distance.tolist() == pytest.approx([0.1 * 8**0.5] * 3, rel=1e-3)


def test_picture_of_images_of_other_sizes_and_channels():
    grey, colours = torch.full((2, 1, 8, 8), 9, dtype=torch.uint8), torch.full((6, 3, 4, 4), 5, dtype=torch.uint8)
    pixels = np.asarray(beside(grey, colours, "digits/train"))
    assert (
        pixels.ndim == 3
        and {5, 9} <= set(np.unique(pixels))
        and not {*range(96)} - {5, 9} & set(np.unique(pixels).tolist())
    )


# Bad input


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (fid(1), "got 1 generated samples for fid, expected at least 2"),
        (kid(1), "got 1 generated samples for kid"),
        (density_coverage(1), "got 1 generated samples for density_coverage"),
        (nearest_neighbours(1), "got 1 generated samples for nearest_neighbours"),
        (kid(50, 10, 60), "subset_size=60 for the kid of 50 generated samples, expected 2 to 50"),
        (kid(50, 10, 1), "subset_size=1 for the kid"),
        (kid(50, 0, 20), "subsets=0 for the kid"),
        (precision_recall(3), "k=3 for precision_recall with 3 generated samples, expected 1 to 2"),
        (precision_recall(3, k=0), "k=0 for precision_recall"),
        (nearest_neighbours(5, rows=0), "rows=0 for nearest_neighbours"),
        (fid(100, extrapolate=1), "extrapolate=1 for the fid of 100 samples"),
        (fid(12, extrapolate=15), "extrapolate=15 for the fid of 12 samples"),
    ],
)
def test_what_the_samples_do_not_allow_is_refused_before_any_is_drawn(metric, message):
    with pytest.raises(UserError, match=message):
        metric.allocate(8, 3)


@pytest.mark.parametrize(
    ("metric", "n", "message"),
    [
        (fid(40), 1, "got 1 images in data/train"),
        (kid(40), 1, "got 1 images in data/train"),
        (kid(40, 10, 30), 20, "subset_size=30 for the kid of 20 images in data/train"),
        (precision_recall(40), 3, "k=3 for precision_recall with 3 images in data/train"),
        (density_coverage(40), 5, "k=5 for density_coverage with 5 images in data/train"),
        (nearest_neighbours(40), 2, "k=2 for nearest_neighbours with 2 images in data/train"),
    ],
)
@pytest.mark.filterwarnings("ignore:cov")
def test_too_small_a_reference_is_refused(metric, n, message):
    with pytest.raises(UserError, match=message):
        metric.require(n, "data/train")


def test_a_sample_that_was_never_shown_is_noticed():
    rows = bank.Bank(41, (64,))
    rows.put(torch.arange(40), FAKE[:40])
    with pytest.raises(AssertionError, match="or never"):
        rows.gathered(CPU)


def test_names_and_directions():
    evaluators = [fid(50_000), kid(2000), precision_recall(10_000), density_coverage(500), nearest_neighbours(1000)]
    subject = Subject(model=Model(), data=FakeData())
    names = ["fid_50k", "kid_2k", "precision_10k", "density_500", "nearest_distance_1k"]
    assert [e.metrics(subject, "")[0] for e in evaluators] == names
    assert [e.mode for e in evaluators] == ["min", "min", "max", "max", "min"]
    assert [e.uses for e in evaluators] == ["moments", *["features"] * 4]
    assert kid(2000).metrics(subject, "classifier")[0] == "kid_classifier_2k"


# Two processes


def every_metric(rank, world, batch=50):
    """Odd sizes, in batches of which each process has some; of the picture's samples only one has any."""
    n, real = 203, REAL[:151]
    makers = [fid(n, 5), kid(n), kid(n, 10, 60), precision_recall(n), density_coverage(n), nearest_neighbours(n)]
    scores = []
    for metric in [*makers, InceptionScore(n=n, splits=10)]:
        metric.allocate(64, 20)
        rows = bank.Bank(n, (64,))
        for start in range(rank * batch, n, world * batch):
            i = torch.arange(start, min(start + batch, n))
            pixels = i.view(-1, 1, 1, 1).to(torch.uint8).expand(-1, 1, 8, 8)
            metric.update(GeneratedBatch(FAKE[i], LOGITS[i], pixels, {}, i))
            rows.put(i, FAKE[i])
        scores += [(s.kind, s.value, s.std) for s in metric.compute(reference(real), rows.gathered(CPU))]
    pictures = []
    show = Show(picture=lambda kind, picture: pictures.append(np.asarray(picture).tolist()))
    makers[-1].show(lambda i: i.view(-1, 1, 1, 1).to(torch.uint8).expand(-1, 1, 8, 8), "toy/train", show)
    return scores, *pictures


def in_process(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(every_metric(rank, 2), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_same_numbers_as_one(tmp_path):
    torch.multiprocessing.start_processes(in_process, (str(tmp_path),), nprocs=2, start_method="spawn")
    one, picture = every_metric(0, 1)
    for rank in (0, 1):
        two, same_picture = torch.load(tmp_path / f"{rank}.pt")
        assert same_picture == picture
        for (kind, value, std), (kind2, value2, std2) in zip(one, two, strict=True):
            exact = kind not in ("fid", "fid_infinity", "inception_score")
            assert (kind2, value2) == (kind, value if exact else pytest.approx(value, rel=1e-9))
            assert std2 == (std if std is None else pytest.approx(std, rel=1e-8))


def test_inception_score_needs_class_probabilities():
    features = AnyModule(name="flat", module=torch.nn.Flatten())
    features.classes = 0
    with pytest.raises(UserError, match="needs class probabilities"):
        InceptionScore(n=10, splits=1).suits(features)
