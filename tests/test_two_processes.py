"""Every evaluator gives the same numbers on two processes as on one, odd sizes included, from the same samples."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hydra.utils import instantiate
from omegaconf import OmegaConf

from genmodels.config.shipped import CONFIGS
from genmodels.errors import Fault, UserError
from genmodels.evaluators.bank import Bank
from genmodels.evaluators.base import SampleMetric
from genmodels.evaluators.distributed import from_all
from genmodels.evaluators.evaluate import evaluate_model
from genmodels.evaluators.features.base import Extracted, Features
from genmodels.fields import Field, label
from genmodels.processes.group import process_group
from genmodels.processes.spawn import run_on

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
    x, condition = Field("image", SHAPE, LEVELS), label(10)

    def __init__(self):
        g = torch.Generator().manual_seed(0)
        self.samples = torch.randint(LEVELS, (N, *SHAPE), generator=g, dtype=torch.uint8)
        self.labels = torch.randint(10, (N,), generator=g)

    def split(self, name):
        return self.samples, {"label": self.labels}

    def fingerprint(self, split):
        return hashlib.sha256(self.samples.numpy().tobytes()).hexdigest()


class Projection(Features):
    """A random linear map of the pixels."""

    name, resize, sha256 = "projection", "none", "0"
    dim, classes, facts, tells_labels = 12, 10, {}, True

    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.w = torch.randn(64, self.dim + self.classes, generator=g) / 8

    def prepare(self, data, device):
        pass

    def forward(self, pixels):
        out = pixels.flatten(1).float() / 255 @ self.w
        return Extracted(out[:, : self.dim], out[:, self.dim :])


class GeneratedBatch(SampleMetric):
    """Keeps the samples themselves, and what they were conditioned on."""

    kind, mode, uses, n, reference = "drawn", "max", "nothing", N, None

    def allocate(self, d, k):
        self.bank, self.asked = Bank(N, SHAPE), Bank(N, ())
        super().allocate(d, k)

    def update(self, drawn):
        self.bank.put(drawn.numbers, drawn.pixels.float())
        self.asked.put(drawn.numbers, drawn.condition["label"].float())

    def compute(self, reference=None, generated=None):
        self.pixels, self.labels = self.bank.gathered(self.device), self.asked.gathered(self.device)
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
    return made | {"drawn": GeneratedBatch()}


def small_vae():
    from tests.helpers import build_model  # not above: the two processes need it not, and wait for it

    overrides = ["model/conditioner=label", "model.encoder.width=4", "model.decoder.width=4"]
    return build_model("vae", *overrides, shape=SHAPE, levels=LEVELS).eval()


def every_result(model, folder, batch_size=50):
    """Each metric's (value, std), the protocols, and the samples."""
    metrics = evaluators(folder)
    settings = dict(split="test", seed=0, batch_size=batch_size, weights="raw", device=torch.device("cpu"))
    records = evaluate_model(model, metrics, data=Images(), features=Projection(), **settings)
    protocols = {r.metric: {k: v for k, v in r.protocol.items() if k != "world_size"} for r in records}
    drawn = metrics["drawn"]
    return {r.metric: (r.value, r.std) for r in records}, protocols, drawn.pixels, drawn.labels


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


@pytest.mark.slow
def test_two_processes_give_the_same_numbers_as_one(results):
    _, (one, protocols, *_), _, two = results
    assert len(one) >= 12 and {"fid_projection_203", "kid_projection_203", "conditional_bits_per_dim"} <= set(one)
    for values, said, *_ in two:
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
            assert values[f"conditional_{name}"] == one[f"conditional_{name}"]


def test_samples_are_the_same_whatever_the_processes_and_the_batch_size(results):
    _, (*_, pixels, labels), (*_, of_other_batches, other_labels), two = results
    assert len(pixels.unique(dim=0)) > 190
    for *_, other, same_labels in two:
        assert torch.equal(other, pixels) and torch.equal(same_labels, labels)
    assert torch.equal(other_labels, labels) and torch.equal(labels.sort()[0], Images().labels.float().sort()[0])
    assert (of_other_batches != pixels).float().mean() < 1e-3  # a convolution's last bits follow the batch size


def test_saved_values_are_the_same_file(results):
    folder = results[0]
    files = [Path(folder) / name / "values.npz" for name in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()


# devices=N


NOTE = f"{__name__}:leave_a_note"


def leave_a_note(config):
    """Work for `run_on`: says who was there, from the first process, or fails in the last one."""
    with process_group(torch.device("cpu")):
        ranks = from_all(int(os.environ.get("RANK", "0")))
        if config["fails"] and os.environ["RANK"] == str(len(ranks) - 1):
            raise UserError("this cannot be done; do something else")
        if os.environ.get("RANK", "0") == "0":
            Path(config["file"]).write_text(json.dumps(ranks))


def test_one_device_is_this_process(tmp_path):
    run_on(NOTE, {"devices": 1, "file": str(tmp_path / "note"), "fails": False, "device": "cpu"})
    assert json.loads((tmp_path / "note").read_text()) == [0]


@pytest.mark.slow
def test_several_devices_are_processes_that_find_each_other_and_end_together(tmp_path):
    config = {"file": str(tmp_path / "note"), "fails": False, "device": "cpu"}
    run_on(NOTE, config | {"devices": 3})
    assert json.loads((tmp_path / "note").read_text()) == [0, 1, 2]
    with pytest.raises(UserError, match="this cannot be done; do something else"):
        run_on(NOTE, config | {"devices": 2, "fails": True})
    with pytest.raises(Fault, match="KeyError"):
        run_on(NOTE, {"devices": 2, "device": "cpu"})


TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "1",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "host",
    "MASTER_PORT": "29500",
}


@pytest.mark.parametrize(
    ("devices", "device", "environment", "message"),
    [
        (0, "cpu", {}, "devices is 0, expected the number of processes"),
        (2, "cpu", TORCHRUN, "4 processes were started, and devices is 2"),
        (2, "cuda:1", {}, "device=cuda:1 is a single device, and devices=2 needs several"),
    ],
)
def test_devices_that_cannot_be_are_refused(devices, device, environment, message, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        run_on(NOTE, {"devices": devices, "device": device})


def test_where_processes_were_started_they_do_the_work(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    done = []
    monkeypatch.setattr(f"{__name__}.leave_a_note", done.append)
    for devices in (1, 4):
        run_on(NOTE, {"devices": devices, "device": "cpu"})
    assert len(done) == 2


@pytest.mark.slow
def test_a_run_is_evaluated_on_two_devices_as_on_one(genmodels, run_dir, tmp_path):
    chosen = ["evaluator=[likelihood,fid,kid]", "evaluator.fid.n=51", "evaluator.kid.n=40", "features.steps=5"]
    chosen += ["features=classifier", "evaluator.kid.subset_size=20", "device=cpu", "batch_size=20"]
    found = []
    for devices in (1, 2):
        run = tmp_path / f"on_{devices}"
        shutil.copytree(run_dir, run)
        (run / "results.json").unlink()
        status, said = genmodels("evaluate", f"run={run}", f"devices={devices}", *chosen)
        assert status == 0, said
        found.append({r["metric"]: r for r in json.loads((run / "results.json").read_text())["results"]})
    one, two = found
    assert list(one) == list(two) and len(one) == 4
    for name, record in one.items():
        assert two[name]["value"] == pytest.approx(record["value"], rel=1e-8)
        assert (record["protocol"]["world_size"], two[name]["protocol"]["world_size"]) == (1, 2)
