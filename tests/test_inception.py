"""FID's Inception network against published code, its weights file in every state, any module as an extractor."""

import os
import pickle
import zlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from math import prod
from pathlib import Path
from threading import Thread

import numpy as np
import pooch
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import nn

from genmodels.errors import UserError
from genmodels.evaluators.features import weights as files
from genmodels.evaluators.features.base import weights_sha256
from genmodels.evaluators.features.folding import checked_layout, folded, layout, units
from genmodels.evaluators.features.inception import Inception, skeleton
from genmodels.evaluators.features.module import AnyModule
from genmodels.evaluators.features.precision import float32_convolutions
from genmodels.evaluators.features.resize import bilinear_of_tensorflow_1

CPU = torch.device("cpu")
CONFIGS = Path(__file__).parents[1] / "configs" / "features"
EXPECTED = np.load(Path(__file__).parent / "fixtures" / "inception_reference.npz")
TAPS = {"64": "pool_2", "192": "pool_4", "768": "Mixed_6e"}


class Pictures:
    """What `prepare` asks of data."""

    name = "pictures"
    shape = (3, 32, 32)
    levels = 256
    classes = None
    prepared = None

    def split(self, name):
        raise NotImplementedError

    def fingerprint(self, split):
        raise NotImplementedError


def drawn(name, shape):
    """A weight by the rule that the reference values were computed with."""
    rng = np.random.default_rng([int(EXPECTED["seed"]), zlib.crc32(name.encode())])
    if name.endswith((".running_mean", ".bias")):
        return 0.1 * rng.standard_normal(shape)
    if name.endswith((".running_var", ".bn.weight")):
        return rng.uniform(0.5, 1.5, shape)
    return rng.standard_normal(shape) * np.sqrt(2 / prod(shape[1:]))


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """A file of the published layout with random weights."""
    weights = {name: torch.tensor(drawn(name, shape).astype(np.float32)) for name, shape in layout(skeleton()).items()}
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(weights | {"Conv2d_1a_3x3.bn.num_batches_tracked": torch.tensor(7)}, path)
    yield path
    path.unlink()


def inception(**changes):
    return Inception(**(dict(weights=None, sha256="published", dtype="float32", batch=2) | changes))


@pytest.fixture(scope="module")
def custom(weights_file):
    """The extractor with these weights."""
    features = inception(weights=str(weights_file), sha256="any")
    features.prepare(Pictures(), CPU)
    return features


def pictures(n=4, c=3):
    return torch.randint(256, (n, c, 20, 24), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_names_are_the_published_ones():
    assert list(layout(skeleton())) == [key.decode() for key in EXPECTED["keys"]]


@pytest.mark.parametrize("size", [32, 64])
def test_features_equal_those_of_published_code(size, custom):
    taps = {tap: [] for tap in TAPS}
    for tap, block in TAPS.items():
        module = custom.network.trunk.get_submodule(block)
        module.register_forward_hook(partial(lambda tap, module, x, y: taps[tap].append(y.mean((2, 3))), tap))
    out = custom(torch.tensor(EXPECTED[f"images{size}"]))
    for block in TAPS.values():
        custom.network.trunk.get_submodule(block)._forward_hooks.clear()
    got = {tap: torch.cat(parts) for tap, parts in taps.items()}
    for name, value in (got | {"2048": out.features, "logits_unbiased": out.logits}).items():
        expected = torch.tensor(EXPECTED[f"feat{size}_{name}"])
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=2e-6 * float(expected.abs().max()))
        assert (value - expected).norm() < 2e-6 * expected.norm()


def tensorflow_1(image, m):
    """The definition, pixel by pixel: the four neighbours of (i n/m, j n/m), weighted by the fractions."""
    h, w = image.shape
    out = np.empty((m, m))
    for i in range(m):
        for j in range(m):
            y, x = i * h / m, j * w / m
            top, left = int(y), int(x)
            bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
            a, b = y - top, x - left
            upper = image[top, left] * (1 - b) + image[top, right] * b
            lower = image[bottom, left] * (1 - b) + image[bottom, right] * b
            out[i, j] = upper * (1 - a) + lower * a
    return out


@pytest.mark.parametrize("h,w,m", [(5, 7, 13), (13, 11, 7), (1, 1, 4), (32, 32, 29), (9, 9, 9)])
def test_resize_is_that_of_tensorflow_1(h, w, m):
    x = np.random.default_rng(h).integers(0, 256, (2, 3, h, w))
    resized = bilinear_of_tensorflow_1(torch.tensor(x).float(), m)
    expected = [[tensorflow_1(channel, m) for channel in image] for image in x]
    np.testing.assert_allclose(resized.numpy(), np.array(expected), atol=1e-3)


def test_a_picture_of_the_networks_size_stays_as_it_is():
    x = torch.rand(1, 1, 299, 299) * 255
    assert torch.equal(bilinear_of_tensorflow_1(x, 299), x)


def test_shapes_types_and_layout_in_memory(custom):
    out = custom(pictures(1))
    assert out.features.shape == (1, custom.dim) and out.logits.shape == (1, custom.classes)
    assert out.features.dtype == out.logits.dtype == torch.float32
    unit = custom.network.trunk.get_submodule("Conv2d_2a_3x3")
    assert unit.weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(p.requires_grad for p in custom.network.parameters()) and not custom.network.training


def test_features_do_not_depend_on_what_they_are_extracted_with(custom):
    x = pictures(3)  # a whole batch of 2 and a part
    together = custom(x)
    alone = custom(x[1:2])
    assert torch.equal(together.features[1:2], alone.features) and torch.equal(together.logits[1:2], alone.logits)
    assert custom(x[:0]).features.shape == (0, 2048)


def test_grey_is_three_equal_channels(custom):
    grey = pictures(2, c=1)
    assert torch.equal(custom(grey).features, custom(grey.repeat(1, 3, 1, 1)).features)
    with pytest.raises(UserError, match="2 channels, expected 1 or 3"):
        custom(pictures(2, c=2))


def test_convolutions_are_float32_within_and_what_they_were_after():
    convolutions = torch.backends.cudnn.conv, torch.backends.mkldnn.conv
    before = [each.fp32_precision for each in convolutions]
    try:
        torch.backends.cudnn.conv.fp32_precision, torch.backends.mkldnn.conv.fp32_precision = "tf32", "bf16"
        with pytest.raises(KeyError), float32_convolutions():
            assert [each.fp32_precision for each in convolutions] == ["ieee", "ieee"]
            raise KeyError
        assert [each.fp32_precision for each in convolutions] == ["tf32", "bf16"]
    finally:
        for each, precision in zip(convolutions, before, strict=True):
            each.fp32_precision = precision


def test_the_network_runs_under_that_precision(custom):
    seen = []
    module = custom.network.trunk.get_submodule("Conv2d_1a_3x3")
    handle = module.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.conv.fp32_precision))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = custom(pictures(1))
    handle.remove()
    assert seen == ["ieee"] and torch.equal(half.features, custom(pictures(1)).features)


def test_names_say_what_is_not_the_papers():
    assert inception().name == ""
    assert inception(sha256="any").name == "custom"
    assert inception(dtype="bfloat16").name == "bf16"
    assert inception(sha256="any", dtype="bfloat16").name == "custom_bf16"


@pytest.mark.slow
def test_bf16_is_near_and_not_equal(custom, weights_file):
    features = inception(weights=str(weights_file), sha256="any", dtype="bfloat16")
    features.prepare(Pictures(), CPU)
    out, exact = features(pictures(2)), custom(pictures(2))
    assert out.features.dtype == torch.float32
    assert 1e-4 < (out.features - exact.features).norm() / exact.features.norm() < 0.02
    assert features.protocol()["features_dtype"] == "bfloat16"


def test_protocol(custom, weights_file):
    assert custom.protocol() == {
        "features": "inception",
        "features_sha256": files.verified(weights_file, published=False),
        "features_weights": "any",
        "features_dtype": "float32",
        "resize": "299x299, TensorFlow 1 bilinear",
    }


# The weights file


def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(pooch, "retrieve", refuse)


def refused(**changes):
    """The sentence with which an extractor is refused."""
    with pytest.raises(UserError) as error:
        inception(**changes).prepare(Pictures(), CPU)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_no_file_and_no_network(monkeypatch, cache_dir):
    offline(monkeypatch)
    sentence = refused()
    for part in (files.URL, str(cache_dir / "features"), "features.weights=FILE", "features=classifier"):
        assert part in sentence


def test_a_file_that_is_not_there(monkeypatch):
    offline(monkeypatch)
    assert "features.weights=mine.pth is no file" in refused(weights="mine.pth")
    assert "mine.pth is no file" in refused(weights="mine.pth", sha256="any")


def test_another_file_than_the_published_one(weights_file):
    found = files.verified(weights_file, published=False)
    sentence = refused(weights=str(weights_file))
    assert found in sentence and files.SHA256 in sentence and "features.sha256=any" in sentence
    assert files.SHA256.startswith("6726825d") and "6726825d" in files.NAME


def test_the_published_file_is_found_in_the_cache_directory(monkeypatch, cache_dir, weights_file, custom):
    offline(monkeypatch)
    (cache_dir / "features").mkdir(parents=True)
    (cache_dir / "features" / files.NAME).symlink_to(weights_file)
    assert "expected 6726825d" in refused()
    monkeypatch.setattr(files, "SHA256", custom.sha256)
    features = inception()
    features.prepare(Pictures(), CPU)
    features.prepare(Pictures(), CPU)
    assert features.name == "" and features.protocol()["features_weights"] == "published"
    assert torch.equal(features(pictures(1)).features, custom(pictures(1)).features)


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder behind an address of this machine, from which the weights are said to come."""
    (tmp_path / "public").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=tmp_path / "public")) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(files, "URL", f"http://127.0.0.1:{server.server_port}/{files.NAME}")
        yield tmp_path / "public"
        server.shutdown()


def test_downloaded_once_into_the_cache_directory(server, monkeypatch, cache_dir):
    (server / files.NAME).write_bytes(b"weights")
    monkeypatch.setattr(files, "SHA256", files.verified(server / files.NAME, published=False))
    path = files.find_weights(None)
    assert path == cache_dir / "features" / files.NAME and path.read_bytes() == b"weights"
    offline(monkeypatch)
    assert files.find_weights(None) == path


def test_a_download_of_another_file_is_not_kept(server, cache_dir):
    (server / files.NAME).write_bytes(b"other")
    assert "could not be downloaded" in refused()
    assert not [path for path in cache_dir.rglob("*") if path.is_file()]


class Attack:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("attacked",)


def broken(path, kind, whole):
    if kind == "truncated":
        path.write_bytes(whole.read_bytes()[:100_000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "code":
        torch.save({"fc.weight": Attack()}, path)
    elif kind == "raw code":
        path.write_bytes(pickle.dumps(Attack()))
    else:
        path.write_text("<html>not found</html>")


@pytest.mark.parametrize("kind", ["truncated", "empty", "code", "raw code", "page"])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_file_that_holds_no_weights(kind, ending, tmp_path, monkeypatch, weights_file):
    monkeypatch.chdir(tmp_path)
    broken(tmp_path / f"bad.{ending}", kind, weights_file)
    assert f"bad.{ending}" in refused(weights=f"bad.{ending}", sha256="any")
    assert not (tmp_path / "attacked").exists()


def shapes():
    return {name: torch.empty(shape, device="meta") for name, shape in layout(skeleton()).items()}


LAYOUTS = {
    "a key is missing": (
        lambda w: w.pop("Mixed_5b.branch1x1.bn.bias"),
        "has nothing as Mixed_5b.branch1x1.bn.bias, expected floats of shape (64,)",
    ),
    "another shape": (
        lambda w: w.update({"fc.weight": torch.zeros(1000, 2048)}),
        "has floats of shape (1000, 2048) as fc.weight, expected floats of shape (1008, 2048)",
    ),
    "integers": (
        lambda w: w.update({"fc.bias": torch.zeros(1008, dtype=torch.int8)}),
        "torch.int8 of shape (1008,) as fc",
    ),
    "no tensor": (lambda w: w.update({"fc.bias": [1.0]}), "has a list as fc.bias"),
    "a key too many": (
        lambda w: w.update({"AuxLogits.fc.bias": torch.zeros(3)}),
        "has AuxLogits.fc.bias, which FID's Inception network lacks",
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_weights_of_another_layout(case):
    change, sentence = LAYOUTS[case]
    weights = shapes()
    checked_layout(weights, skeleton(), "file.pth")
    change(weights)
    with pytest.raises(UserError) as error:
        checked_layout(weights, skeleton(), "file.pth")
    assert sentence in str(error.value) and str(error.value).startswith("file.pth")


def test_a_file_of_something_else(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    assert "holds a Tensor" in refused(weights=str(tmp_path / "tensor.pth"), sha256="any")
    save_file({"x": torch.zeros(3)}, tmp_path / "other.safetensors")
    assert "has nothing as Conv2d_1a_3x3.conv.weight" in refused(
        weights=str(tmp_path / "other.safetensors"), sha256="any"
    )


def test_nan_in_the_weights_is_refused(custom):
    unit = custom.network.trunk.get_submodule("Conv2d_1a_3x3")
    before = unit.bias[0].item()
    unit.bias[0] = torch.nan
    with pytest.raises(UserError, match="features=custom gave NaN"):
        custom(pictures(1))
    unit.bias[0] = before


def test_folding_is_the_batch_normalization():
    network = skeleton()
    name, unit = next(iter(units(network).items()))
    weights = {
        key: torch.tensor(drawn(key, shape).astype(np.float32)) if key.startswith((name, "fc")) else torch.ones(shape)
        for key, shape in layout(network).items()
    }
    state = folded(weights, network)
    norm = nn.BatchNorm2d(unit.out_channels, eps=0.001).eval()
    norm.load_state_dict(
        {key: weights[f"{name}.bn.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}, strict=False
    )
    x = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    expected = norm(nn.functional.conv2d(x, weights[f"{name}.conv.weight"]))
    got = nn.functional.conv2d(x, state[f"trunk.{name}.weight"], state[f"trunk.{name}.bias"])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_of_nothing(batch):
    with pytest.raises(UserError, match="expected at least 1"):
        inception(batch=batch)


# Any module


class Colours(nn.Module):
    """Mean colours, times weights; logits where asked for."""

    def __init__(self, classes=0, scale=1.0, gives="features"):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.scale = scale
        self.head = nn.Linear(3, classes) if classes else None
        self.gives = gives

    def forward(self, pixels):
        assert pixels.dtype == torch.uint8
        f = self.scale * pixels.double().mean((2, 3)) * self.w
        odd = {"list": [f], "image": f[:, :, None, None], "one": f[:1], "three": (f, f, f)}
        if self.gives != "features":
            return odd[self.gives]
        return f if self.head is None else (f, self.head(f.float()))


def any_module(module, name="colours"):
    features = AnyModule(name=name, module=module)
    features.prepare(Pictures(), CPU)
    return features


def test_a_module_as_extractor():
    features = any_module(Colours())
    out = features(pictures())
    assert out.features.dtype == torch.float32 and (features.dim, features.classes) == (3, 0)
    torch.testing.assert_close(out.features, pictures().float().mean((2, 3)))
    protocol = features.protocol()
    assert protocol["features"] == features.name == "colours"
    assert protocol["features_sha256"] == weights_sha256(Colours().state_dict())
    assert protocol["features_module"].endswith("test_inception.Colours")
    assert not any(p.requires_grad for p in features.module.parameters()) and not features.module.training


def test_a_module_that_gives_logits():
    features = any_module(Colours(classes=5))
    assert features.classes == 5 and features(pictures()).logits.shape == (4, 5)


def test_other_weights_or_settings_are_another_extractor():
    first, scaled, changed = Colours(), Colours(scale=2.0), Colours()
    with torch.no_grad():
        changed.w[0] = 2
    protocols = [any_module(module).protocol() for module in (first, scaled, changed, Colours())]
    assert protocols[0] == protocols[3] and protocols[0] != protocols[1] and protocols[0] != protocols[2]


def test_weights_in_bfloat16_have_a_hash():
    whole = {"w": torch.ones(3)}
    assert weights_sha256({"w": whole["w"].bfloat16()}) != weights_sha256(whole) == weights_sha256({"w": torch.ones(3)})


@pytest.mark.parametrize("gives", ["list", "image", "one", "three"])
def test_a_module_that_gives_something_else(gives):
    with pytest.raises(UserError, match=r"features=colours gave .* expected features \(2, d\)"):
        any_module(Colours(gives=gives))


@pytest.mark.parametrize("name", ["", "a b", "../x"])
def test_a_name_that_is_none(name):
    with pytest.raises(UserError, match="name the extractor"):
        any_module(Colours(), name=name)


def test_configs_build_the_extractors():
    features = instantiate(OmegaConf.load(CONFIGS / "inception.yaml"))
    assert features.name == "" and features.published
    config = OmegaConf.load(CONFIGS / "module.yaml")
    config.name, config.module._target_ = "flat", "torch.nn.Flatten"
    assert instantiate(config).name == "flat"
