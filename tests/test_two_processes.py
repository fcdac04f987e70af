"""Every evaluator gives the same numbers on two processes as on one, odd sizes included, from the same samples."""

import hashlib
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hydra.utils import instantiate
from omegaconf import OmegaConf

from genmodels.cli.config.places import CONFIGS
from genmodels.evaluators.bank import Bank
from genmodels.evaluators.base import SampleMetric
from genmodels.evaluators.evaluate import evaluate
from genmodels.evaluators.features.base import Extracted, Features
from genmodels.seeds import seeded

N = 203  # samples, and images
SETTINGS = {
    "likelihood": {"draws": 3, "batch": 90},  # two whole batches and a part
    "kid": {"subsets": 5, "subset_size": 60},
    "inception_score": {"splits": 7},
    "fid": {"extrapolate": 5},
    "nearest_neighbours": {"n": 30},  # one chunk, which one process has
}
SHAPE, LEVELS = (1, 8, 8), 17


class Images:
    """Random images with labels."""

    name, shape, levels, classes, prepared = "fake", SHAPE, LEVELS, 10, None

    def __init__(self):
        g = torch.Generator().manual_seed(0)
        self.x = torch.randint(LEVELS, (N, *SHAPE), generator=g, dtype=torch.uint8)
        self.y = torch.randint(10, (N,), generator=g)

    def split(self, name):
        return self.x, self.y

    def fingerprint(self, split):
        return hashlib.sha256(self.x.numpy().tobytes()).hexdigest()


class Projection(Features):
    """A random linear map of the pixels."""

    name, resize, sha256 = "projection", "none", "0"
    dim, classes, facts = 12, 5, {}

    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.w = torch.randn(64, self.dim + self.classes, generator=g) / 8

    def prepare(self, data, device):
        pass

    def forward(self, pixels):
        out = pixels.flatten(1).float() / 255 @ self.w
        return Extracted(out[:, : self.dim], out[:, self.dim :])


class Drawn(SampleMetric):
    """Keeps the samples themselves."""

    kind, mode, needs, n, reference = "drawn", "max", "nothing", N, None

    def allocate(self, d, k):
        self.bank = Bank(N, SHAPE)

    def update(self, features, logits, index):
        pass

    def look(self, pixels, index):
        self.bank.put(index, pixels.float())

    def compute(self, reference=None):
        self.pixels = self.bank.gathered(self.device)
        return []


BY_THE_CLOCK = "samples_per_second"  # the only result that differs from one time to the next


def evaluators(folder):
    """All of configs/evaluator/, and what keeps the samples."""
    made = {}
    for file in sorted((CONFIGS / "evaluator").glob("*.yaml")):
        node = OmegaConf.load(file)
        changes = ({"n": N} if "n" in node else {}) | SETTINGS.get(file.stem, {})
        changes |= {"save": f"{folder}/values.npz"} if "save" in node else {}
        made[file.stem] = instantiate(OmegaConf.merge(node, changes))
    return made | {"drawn": Drawn()}


def small_vae():
    from tests.helpers import compose_model  # not above: the two processes need it not, and wait for it

    overrides = ["model.conditional=true", "model.encoder.width=4", "model.decoder.width=4"]
    with seeded(0):
        return instantiate(compose_model("vae", *overrides, shape=SHAPE, levels=LEVELS).model, _convert_="all").eval()


def every_result(model, folder, batch_size=50):
    """Each metric's (value, std), the protocols, and the samples."""
    metrics = evaluators(folder)
    settings = dict(split="test", seed=0, batch_size=batch_size, weights="raw", device=torch.device("cpu"))
    records = evaluate(model, metrics, data=Images(), features=Projection(), **settings)
    protocols = {r.metric: {k: v for k, v in r.protocol.items() if k != "world_size"} for r in records}
    return {r.metric: (r.value, r.std) for r in records}, protocols, metrics["drawn"].pixels


def in_process(rank, folder, model):
    torch.set_num_threads(1)
    os.environ["GENMODELS_CACHE"] = f"{folder}/cache_of_two"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(every_result(model, f"{folder}/two"), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """From one process, and from each of two."""
    folder, model = tmp_path_factory.mktemp("two"), small_vae()
    torch.multiprocessing.start_processes(in_process, (str(folder), model), nprocs=2, start_method="spawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENMODELS_CACHE", str(folder / "cache_of_one"))
        one = every_result(model, folder / "one")
        other_batch = every_result(model, folder / "other", batch_size=64)
    return folder, one, other_batch, [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def test_two_processes_give_the_same_numbers_as_one(results):
    _, (one, protocols, _), _, two = results
    assert len(one) >= 12 and {"fid_projection_203", "kid_projection_203", "bits_per_dim"} <= set(one)
    for values, said, _ in two:
        assert list(values) == list(one)
        for name, number in one.items():
            if name == BY_THE_CLOCK:
                continue
            assert_near(values[name], number, name, 1e-8 if name.startswith("fid") else 1e-13)
        assert said == protocols


def test_two_processes_agree_on_their_speed(results):
    speeds = [values[BY_THE_CLOCK] for values, *_ in results[3]]
    assert speeds[0] == speeds[1] and speeds[0][0] > 0


def assert_near(found, expected, name, rel):
    for a, b in zip(found, expected, strict=True):
        assert a == b or a == pytest.approx(b, rel=rel), name


def test_likelihoods_are_equal_to_the_last_bit(results):
    _, (one, *_), _, two = results
    for values, *_ in two:
        for name in ("bits_per_dim", "nll_nats", "elbo_nats"):
            assert values[name] == one[name]


def test_samples_are_the_same_whatever_the_processes_and_the_batch_size(results):
    _, (*_, pixels), (*_, of_other_batches), two = results
    assert len(pixels.unique(dim=0)) > 190
    for *_, other in two:
        assert torch.equal(other, pixels)
    assert (of_other_batches != pixels).float().mean() < 1e-3  # a convolution's last bits follow the batch size


def test_saved_values_are_the_same_file(results):
    folder = results[0]
    files = [Path(folder) / name / "values.npz" for name in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()
