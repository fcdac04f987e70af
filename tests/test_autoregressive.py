"""Gated PixelCNN: it is a distribution, it is causal without a blind spot, and its cache is exact."""

from itertools import product
from math import log, log2, prod

import hydra
import pytest
import torch
from torch import Tensor

from genmodels.errors import UserError
from genmodels.models.autoregressive import Autoregressive
from genmodels.nn.gated_pixelcnn import GatedPixelCNN
from genmodels.seeds import GLOBAL
from genmodels.units import bits_per_dim, to_unit
from tests.helpers import compose_model


def make(
    shape: tuple[int, int, int], levels: int, *overrides: str, width: int = 8, gain: float = 3.0
) -> Autoregressive:
    """A small model with random weights, the last layer's `gain` times larger than they begin."""
    torch.manual_seed(0)
    small = [f"model.network.width={width}", "model.network.head_width=24", "model.network.layers=3"]
    cfg = compose_model("pixelcnn", *small, *overrides, shape=shape, levels=levels)
    model = hydra.utils.instantiate(cfg.model).eval()
    model.network.out.conv.weight.data.mul_(gain)
    return model


def every_image(shape: tuple[int, int, int], levels: int) -> Tensor:
    return torch.tensor(list(product(range(levels), repeat=prod(shape))), dtype=torch.uint8).unflatten(1, shape)


@torch.no_grad()
def sample_naively(model: Autoregressive, n: int, y: Tensor | None = None) -> Tensor:
    """One whole pass for every entry, with the same random numbers as `sample`."""
    c, h, w = model.shape
    x = torch.zeros(n, c, h, w, dtype=torch.uint8)
    for i, j, k in product(range(h), range(w), range(c)):
        logits = model.network(to_unit(x, model.levels), y)
        x[:, k, i, j] = GLOBAL.categorical(logits[:, :, k, i, j])
    return x


TINY = [((1, 2, 2), 3), ((3, 1, 2), 2), ((2, 2, 2), 2), ((1, 3, 2), 2)]


@pytest.mark.parametrize("shape, levels", TINY)
def test_probabilities_of_every_image_sum_to_one(shape, levels):
    p = make(shape, levels).log_prob(every_image(shape, levels)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert p.max() > 1.5 * p.min()  # not the uniform model


@pytest.mark.parametrize("shape, levels", [((1, 2, 2), 3), ((3, 1, 2), 2)])
def test_samples_have_the_models_frequencies(shape, levels):
    model, n = make(shape, levels, gain=6.0), 20_000
    images = every_image(shape, levels)
    expected = n * model.log_prob(images).exp()
    place = levels ** torch.arange(prod(shape) - 1, -1, -1)
    seen = (model.sample(n).flatten(1).long() @ place).bincount(minlength=len(images))
    chi2, free = ((seen - expected) ** 2 / expected).sum().item(), len(images) - 1
    assert abs(chi2 - free) < 4 * (2 * free) ** 0.5
    assert ((n / len(images) - expected) ** 2 / expected).sum().item() > 10 * free  # the test can tell it from uniform


@pytest.mark.parametrize(
    "shape, overrides",
    [((1, 7, 7), ("model.network.layers=6",)), ((3, 4, 4), ("model.network.first_kernel=5",)), ((2, 3, 5), ())],
)
def test_an_entry_depends_on_all_before_it_and_on_nothing_else(shape, overrides):
    network = make(shape, 5, "model.network.kernel=3", *overrides).network.double()
    x = torch.rand(1, *shape, dtype=torch.float64) * 2 - 1
    c, h, w = shape
    order = list(product(range(h), range(w), range(c)))
    mix = torch.randn(5, dtype=torch.float64)

    def scores(x: Tensor) -> Tensor:
        logits = torch.einsum("l,lkij->kij", mix, network(x)[0])
        return torch.stack([logits[k, i, j] for i, j, k in order])

    slope = torch.autograd.functional.jacobian(scores, x, vectorize=True)[:, 0]  # (entries, c, h, w)
    slope = torch.stack([slope[:, k, i, j] for i, j, k in order], 1)
    depends = slope != 0
    assert torch.equal(depends, torch.ones_like(depends).tril(-1))


def test_the_cache_gives_the_logits_of_the_whole_pass():
    network = make((3, 5, 4), 7, "model.conditional=true").network.double()
    x, y = torch.rand(2, 3, 5, 4, dtype=torch.float64) * 2 - 1, torch.tensor([3, 8])
    with torch.no_grad():
        stepper, value, whole = network.stepper(2, y), None, network(x, y)
        for i, j, k in product(range(5), range(4), range(3)):
            torch.testing.assert_close(stepper.step(value), whole[:, :, k, i, j], rtol=0, atol=1e-12)
            value = x[:, k, i, j]


@pytest.mark.parametrize(
    "shape, levels, width, conditional",
    [((1, 8, 8), 17, 8, False), ((1, 8, 8), 17, 8, True), ((3, 6, 6), 256, 8, True), ((2, 4, 3), 5, 9, False)],
)
def test_cached_sampling_equals_the_naive_loop(shape, levels, width, conditional):
    model = make(shape, levels, f"model.conditional={conditional}", width=width)
    y = torch.tensor([4, 0, 9]) if conditional else None
    torch.manual_seed(1)
    cached = model.sample(3, y)
    torch.manual_seed(1)
    assert torch.equal(cached, sample_naively(model, 3, y))
    assert cached.dtype == torch.uint8 and cached.unique().numel() > 2


def test_sampling_is_without_dropout_even_in_training_mode():
    model = make((1, 4, 4), 17, "model.network.dropout=0.5")
    draws = []
    for training in (False, True):
        model.train(training)
        torch.manual_seed(1)
        draws.append(model.sample(4))
    assert torch.equal(*draws)


@pytest.mark.parametrize("shape, levels", [((1, 8, 8), 17), ((3, 4, 4), 256), ((1, 4, 4), 2)])
def test_the_uniform_model_has_log2_levels_bits_per_dim(shape, levels):
    model = make(shape, levels)
    for weights in model.network.out.parameters():
        weights.data.zero_()
    x = torch.randint(levels, (5, *shape), dtype=torch.uint8)
    bits = bits_per_dim(-model.log_prob(x), prod(shape))
    torch.testing.assert_close(bits, torch.full((5,), log2(levels)), rtol=1e-6, atol=0)


def test_labels_change_the_likelihood_and_are_ignored_where_unconditional():
    x = torch.randint(17, (2, 1, 8, 8), dtype=torch.uint8)
    a, b = torch.tensor([0, 1]), torch.tensor([0, 2])
    model = make((1, 8, 8), 17, "model.conditional=true")
    changed = model.log_prob(x, a) != model.log_prob(x, b)
    assert changed.tolist() == [False, True]
    with pytest.raises(UserError, match="got no labels"):
        model.log_prob(x)
    plain = make((1, 8, 8), 17)
    assert torch.equal(plain.log_prob(x, a), plain.log_prob(x))


def test_loss_is_the_negative_log_likelihood_and_float32_under_bf16():
    model = make((3, 4, 4), 256)
    x = torch.randint(256, (3, 3, 4, 4), dtype=torch.uint8)
    exact = -model.log_prob(x)
    torch.testing.assert_close(model.loss(x)["loss"], exact)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.loss(x)["loss"]
        assert model.sample(2).shape == (2, 3, 4, 4)
    half.mean().backward()
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0.02, atol=0)
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_it_learns_a_pattern():
    torch.manual_seed(0)
    x = torch.randint(2, (32, 1, 1, 1), dtype=torch.uint8).expand(32, 1, 4, 4).clone()
    model = make((1, 4, 4), 2, "model.network.dropout=0.0")
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(25):
        optimizer.zero_grad()
        model.loss(x)["loss"].mean().backward()
        optimizer.step()
    assert -model.log_prob(x).mean() < log(2) + 0.1  # one bit an image, of 16
    assert (model.sample(32).flatten(1).float().std(1) == 0).float().mean() > 0.9


def test_settings_that_cannot_be_are_refused():
    settings = {"shape": (3, 4, 4), "levels": 2, "classes": None, "layers": 2, "head_width": 8, "dropout": 0.0}
    with pytest.raises(UserError, match="odd"):
        GatedPixelCNN(width=8, first_kernel=7, kernel=4, **settings)
    with pytest.raises(UserError, match="3 channels"):
        GatedPixelCNN(width=2, first_kernel=7, kernel=3, **settings)


def test_the_papers_mnist_size_is_reachable_by_overrides():
    cfg = compose_model("pixelcnn", "model.network.width=128", "model.network.layers=10", shape=(1, 28, 28), levels=2)
    with torch.device("meta"):
        network = hydra.utils.instantiate(cfg.model).network
        logits = network(torch.empty(1, 1, 28, 28))
    assert logits.shape == (1, 2, 1, 28, 28)
    assert sum(p.numel() for p in network.parameters()) > 5e6
