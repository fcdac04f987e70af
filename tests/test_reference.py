"""Reference statistics: computed once, kept under a hash of what they depend on, the same on every process."""

import numpy as np
import pytest
import torch
import torch.distributed as dist

from genmodels.errors import UserError
from genmodels.evaluators import reference as module
from genmodels.evaluators.distributed import shards
from genmodels.evaluators.features.base import Extracted, Features
from genmodels.evaluators.metrics.density_coverage import DensityCoverage
from genmodels.evaluators.metrics.kid import KID, mmd
from genmodels.evaluators.metrics.nearest_neighbours import NearestNeighbours
from genmodels.evaluators.metrics.precision_recall import PrecisionRecall
from genmodels.evaluators.pairs import radii
from genmodels.evaluators.pictures import SplitPictures, WithChannels
from genmodels.evaluators.reference import Statistics, radii_of, reference_of, statistics_in

CPU = torch.device("cpu")


class Images:
    """203 random grey images of 4x4 with 17 levels."""

    name, shape, classes, prepared = "images", (1, 4, 4), None, None

    def __init__(self, seed=0, levels=17, n=203):
        self.levels, self.seed, self.n = levels, seed, n
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randint(17, (n, 1, 4, 4), generator=g).to(torch.uint8)

    def split(self, name):
        return self.x, {}

    def fingerprint(self, split):
        return f"{self.seed} {self.n} {split}"


class Pixels(Features):
    """The first channel's pixels as features."""

    name, resize, dim, classes, facts = "pixels", "none", 16, 3, {}

    def __init__(self, sha256="0", resize="none"):
        self.sha256, self.resize, self.shown = sha256, resize, 0

    def prepare(self, data, device):
        """Nothing to be done."""

    def forward(self, pixels):
        self.shown += len(pixels)
        f = pixels[:, 0].flatten(1).float() / 255
        return Extracted(f, f[:, :3])


@pytest.fixture(autouse=True)
def references(tmp_path, monkeypatch):
    """The folder of the cache, empty, in a process that knows no reference yet."""
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "references_in_memory", {})
    return tmp_path / "references"


def of(source=None, features=None, rows=False, batch=50):
    source = source or SplitPictures(Images(), "train")
    return reference_of(
        source, features=features or Pixels(), rows=rows, batch=batch, device=CPU, progress=lambda *_: None
    )


def anew(monkeypatch, *args, **kwargs):
    """As another process would find it."""
    monkeypatch.setattr(module, "references_in_memory", {})
    return of(*args, **kwargs)


def expected():
    return (Images().x.double() * (255 / 16)).round().flatten(1) / 255


def test_moments_and_features_are_those_of_the_images():
    f = expected()
    for batch in (1, 50, 203, 1000):
        found = of(rows=True, batch=batch)
        module.references_in_memory.clear()
        assert torch.allclose(found.mu, f.mean(0)) and torch.allclose(found.sigma, torch.cov(f.T))
        assert torch.equal(found.features(), f.float()) and found.n == 203
        assert found.mu.dtype == found.sigma.dtype == torch.float64


def test_computed_once_and_found_by_the_next_process(references, monkeypatch):
    features = Pixels()
    first = of(features=features)
    assert features.shown == 203 and len(list(references.iterdir())) == 1
    assert of(features=features) is first
    second = anew(monkeypatch, features=features)
    assert features.shown == 203
    assert torch.equal(second.mu, first.mu) and torch.equal(second.sigma, first.sigma) and second.n == 203
    rows = of(features=features, rows=True).features()
    assert rows.shape == (203, 16) and features.shown == 406
    of(features=features), of(features=features, rows=True)
    assert torch.equal(anew(monkeypatch, features=features, rows=True).features(), rows)
    assert features.shown == 406


def test_features_that_find_no_room_are_computed_anew(references, monkeypatch):
    (references.parent / "reference_features").touch()
    features = Pixels()
    first = of(features=features, rows=True).features()
    assert torch.equal(anew(monkeypatch, features=features, rows=True).features(), first) and features.shown == 406


def test_what_follows_from_the_features_is_computed_once(references, monkeypatch):
    made = []

    def kid(n):
        metric = KID(n=n, reference="train", subsets=1, subset_size=None, seed=0)
        metric.progress = lambda stage, done, _: done or made.append(stage)
        return metric.compute(anew(monkeypatch, rows=True), fakes(n))[0].value

    first, second = kid(20), kid(20)
    assert first == second == pytest.approx(float(mmd(of(rows=True).features(), fakes(20), CPU)), abs=1e-12)
    assert made.count("pairs of the reference") == 1


def test_radii_of_the_reference_are_computed_once(monkeypatch):
    made = []

    def values():
        of = {"n": 20, "reference": "train", "k": 3}
        metrics = [PrecisionRecall(**of), DensityCoverage(**of), NearestNeighbours(**of, rows=1)]
        for metric in metrics:
            metric.progress = lambda stage, done, _: done or made.append(stage)
        return [score.value for metric in metrics for score in metric.compute(anew(monkeypatch, rows=True), fakes(20))]

    first, once = values(), made.copy()
    made.clear()
    assert values() == first
    assert once.count("distances to 203 images") == 5  # radii, nearest among its own, and of each metric the samples
    assert made.count("distances to 203 images") == 3
    direct = radii(of(rows=True).features(), 3, CPU)
    assert torch.equal(radii_of(anew(monkeypatch, rows=True), 3, CPU, lambda *_: None), direct)


def fakes(n):
    return torch.rand(n, 16, generator=torch.Generator().manual_seed(0))


def test_whatever_they_depend_on_is_another_file(references):
    plain = SplitPictures(Images(), "train")
    of(plain)
    for source, features in [
        (SplitPictures(Images(seed=1), "train"), Pixels()),
        (SplitPictures(Images(), "test"), Pixels()),
        (SplitPictures(Images(levels=256), "train"), Pixels()),
        (WithChannels(plain, 3), Pixels()),
        (plain, Pixels(sha256="1")),
        (plain, Pixels(resize="8x8")),
    ]:
        before = len(list(references.iterdir()))
        of(source, features)
        assert len(list(references.iterdir())) == before + 1


@pytest.mark.parametrize("damage", ["truncated", "empty", "one byte"])
def test_a_damaged_file_is_computed_anew(references, damage, monkeypatch):
    good = of()
    (path,) = references.iterdir()
    content = path.read_bytes()
    flipped = content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
    path.write_bytes({"truncated": content[:-50], "empty": b"", "one byte": flipped}[damage])
    features = Pixels()
    assert torch.equal(anew(monkeypatch, features=features).sigma, good.sigma)
    assert features.shown == 203 and path.read_bytes() == content
    assert [file.name for file in references.iterdir()] == [path.name]  # nothing temporary is left


def test_grey_pictures_are_three_equal_channels_and_back():
    grey = SplitPictures(Images(), "train")
    three = WithChannels(grey, 3)
    x = three.read(range(5))
    assert x.shape == (5, 3, 4, 4) and three.shape == (3, 4, 4) and (x == x[:, :1]).all()
    assert torch.equal(WithChannels(three, 1).read(range(5)), grey.read(range(5)))
    assert torch.equal(grey.read([7, 2]), grey.read(range(8))[[7, 2]])


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_statistics_of_another_program(tmp_path):
    f = expected()
    path = write(tmp_path / "stats.npz", mu=f.mean(0).numpy(), sigma=torch.cov(f.T).numpy())
    source = statistics_in(path)
    assert isinstance(source, Statistics)
    found = of(source)
    assert torch.equal(found.mu, f.mean(0)) and found.n is None and len(found.fingerprint) == 64
    with pytest.raises(UserError, match="holds only moments"):
        found.features()
    assert statistics_in(write(tmp_path / "images.npz", images=np.zeros(3))) is None


def test_statistics_that_cannot_be_used(tmp_path):
    small = statistics_in(write(tmp_path / "small.npz", mu=np.zeros(4), sigma=np.eye(4)))
    with pytest.raises(UserError, match="small.npz has statistics of 4 dimensions, and features=pixels has 16"):
        of(small)
    for mu, sigma in [(np.zeros(4), np.eye(3)), (np.full(4, np.nan), np.eye(4)), (np.zeros(4, int), np.eye(4))]:
        with pytest.raises(UserError, match="expected finite numbers"):
            statistics_in(write(tmp_path / "wrong.npz", mu=mu, sigma=sigma))


def test_one_image_is_no_reference():
    with pytest.raises(UserError, match="got 1 images in images/train, expected at least 2"):
        of(SplitPictures(Images(n=1), "train"))


def test_shards_are_unpadded():
    assert list(shards(7, 3)) == [range(0, 3), range(3, 6), range(6, 7)]
    assert list(shards(0, 3)) == []


def in_process(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    features = Pixels()
    found = of(features=features, rows=True)
    module.references_in_memory.clear()
    again = of(features=Pixels(sha256="0"))  # from the file that rank 0 wrote
    torch.save((found.mu, found.sigma, found.features(), again.sigma, features.shown), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_share_the_work_and_have_the_same_reference(tmp_path, references):
    torch.multiprocessing.start_processes(in_process, (str(tmp_path),), nprocs=2, start_method="spawn")
    one, (a, b) = of(rows=True, features=Pixels(sha256="1")), (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for x, y in zip(a[:4], b[:4], strict=True):
        assert torch.equal(x, y)
    assert torch.allclose(a[0], one.mu, rtol=1e-13) and torch.allclose(a[1], one.sigma, rtol=1e-10, atol=1e-15)
    assert torch.equal(a[2], one.features()) and torch.equal(a[3], a[1])
    assert (a[4], b[4]) == (103, 100)  # 5 chunks of up to 50
    assert len(list(references.iterdir())) == 2
