"""Every model of configs/model/ keeps the contract of the capabilities that its class names, on the data it takes."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from genmodels.capabilities import Denoises, Encodes, HasAdversary, HasLikelihood, HasLoss, Samples
from genmodels.cli.build import class_of
from genmodels.cli.config.check import check
from genmodels.errors import UserError
from genmodels.seeds import ByNumber, seeded
from tests.helpers import CONFIGS, compose_model

MODELS = sorted(file.stem for file in (CONFIGS / "model").glob("*.yaml"))
DATA = {"digits": ((1, 8, 8), 17), "colour": ((3, 8, 8), 256), "points": ((5,), None)}
SMALL = {"ddpm": ["model.schedule.steps=20", "sampler.steps=5"], "pixelcnn": ["model.network.width=8"]}


def build(name: str, data: str, conditional: bool = False) -> nn.Module:
    """The model, checked and made as a command would. UserError where it does not take such data."""
    shape, levels = DATA[data]
    overrides = [*SMALL.get(name, []), f"model.conditional={str(conditional).lower()}"]
    cfg = compose_model(name, *overrides, shape=shape, levels=levels, sampler="ddim")
    node = OmegaConf.to_container(cfg.model, resolve=True)
    check(node, class_of(node))
    try:
        with seeded(0):
            return instantiate(node, _convert_="all")
    except InstantiationException as error:
        raise error.__cause__ or error from None


@cache
def taken(name: str) -> tuple[str, ...]:
    """The data that a model takes, by what it says itself: images, or points."""
    names = []
    for data in DATA:
        try:
            build(name, data)
        except UserError:
            continue
        names.append(data)
    return tuple(names)


def batch(data: str, n: int = 6) -> tuple[Tensor, Tensor]:
    shape, levels = DATA[data]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, *shape, generator=generator)
    if levels is not None:
        x = torch.randint(levels, (n, *shape), generator=generator, dtype=torch.uint8)
    return x, torch.arange(n) % 10


def same(a: Tensor, b: Tensor) -> bool:
    """Equal, or, of points, to the last bits, which follow the batch size."""
    return torch.allclose(a, b, rtol=1e-9, atol=1e-9) if a.is_floating_point() else torch.equal(a, b)


@pytest.fixture(params=MODELS)
def name(request) -> str:
    return request.param


@pytest.fixture(params=[(name, data) for name in MODELS for data in taken(name)], ids="-".join)
def pair(request) -> tuple[str, str]:
    return request.param


@pytest.fixture
def data(name) -> str:
    """The first of the data that a model takes."""
    return taken(name)[0]


def test_a_model_takes_images_or_points(name):
    assert taken(name) in (("digits", "colour"), ("points",))


def test_samples_are_data(pair):
    name, data = pair
    model = build(name, data).eval()
    jiggle(model)
    assert isinstance(model, Samples)
    shape, levels = DATA[data]
    with seeded(1):
        x = model.sample(3)
    assert x.dtype == (torch.float32 if levels is None else torch.uint8) and x.shape == (3, *shape)
    assert x.isfinite().all() and (levels is None or int(x.max()) < levels)
    assert not x.requires_grad
    with seeded(1):
        assert torch.equal(model.sample(3), x)
    with seeded(2):
        assert not torch.equal(model.sample(3), x)


def in_batches(model: nn.Module, size: int, n: int = 6, seed: int = 1) -> Tensor:
    """Samples number 0..n-1, drawn `size` at a time."""
    ranges = [(first, min(size, n - first)) for first in range(0, n, size)]
    return torch.cat([model.sample(count, rng=ByNumber(seed, first, count)) for first, count in ranges])


@pytest.mark.parametrize("conditional", [False, True])
def test_a_sample_does_not_depend_on_those_it_is_drawn_with(pair, conditional):
    name, data = pair
    model = build(name, data, conditional).eval()
    jiggle(model)
    model.double()  # a convolution's last bits follow the batch size; in float64 no pixel notices
    state = torch.get_rng_state()
    together = in_batches(model, 6)
    for size in (2, 4):
        assert same(in_batches(model, size), together)
    assert torch.equal(torch.get_rng_state(), state), "all that is drawn comes from rng"
    assert len(together.unique(dim=0)) == 6
    assert not torch.equal(in_batches(model, 6, seed=2), together)


def test_likelihood_is_that_of_the_data(pair):
    name, data = pair
    model = build(name, data).eval()
    if not isinstance(model, HasLikelihood):
        return
    x, _ = batch(data)
    with seeded(1):
        log_prob = model.log_prob(x)
    assert log_prob.shape == (6,) and log_prob.dtype in (torch.float32, torch.float64)
    assert not log_prob.requires_grad and log_prob.isfinite().all()
    assert data == "points" or (log_prob < 0).all(), "a probability of integers is below 1"
    assert model.bound in ("exact", "elbo", "vlb")


def gradients(model: nn.Module, terms: dict[str, Tensor], x: Tensor) -> None:
    assert all(term.shape == (len(x),) and term.isfinite().all() for term in terms.values())
    terms["loss"].mean().backward()


@pytest.mark.parametrize("conditional", [False, True])
def test_losses_reach_every_parameter(name, data, conditional):
    model = build(name, data, conditional)
    jiggle(model)
    x, y = batch(data)
    if isinstance(model, HasLoss):
        gradients(model, model.loss(x, y), x)
        reached = {model: "model"}
    else:
        assert isinstance(model, HasAdversary)
        gradients(model, model.discriminator_loss(x, y), x)
        assert all(p.grad is None for p in model.generator.parameters())
        gradients(model, model.generator_loss(x, y), x)
        mine = {id(p) for p in model.generator.parameters()} & {id(p) for p in model.discriminator.parameters()}
        assert not mine, "the players share parameters"
        reached = {model.generator: "generator", model.discriminator: "discriminator"}
    for part in reached:
        missed = [key for key, p in part.named_parameters() if p.grad is None or not p.grad.any()]
        assert not missed, f"no gradient reaches {missed}"


def jiggle(model: nn.Module) -> None:
    """Moves weights away from zero initializations, behind which no gradient arrives."""
    with seeded(3), torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))


def test_state_travels(name, data):
    model = build(name, data)
    jiggle(model)
    copy = deepcopy(model).eval()
    fresh = build(name, data).eval()
    fresh.load_state_dict(model.state_dict())
    samples = []
    for each in (copy, fresh):
        with seeded(5):
            samples.append(each.sample(2))
    assert torch.equal(*samples)


def test_labels_matter_where_the_model_is_conditional(name, data):
    model = build(name, data, conditional=True).eval()
    jiggle(model)
    assert model.classes == 10
    zeros, ones = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    outputs = []
    for y in (zeros, ones):
        with seeded(6):
            outputs.append(model.sample(4, y))
    assert not torch.equal(*outputs)
    with seeded(6):
        assert model.sample(4).shape == (4, *DATA[data][0])
    if isinstance(model, HasLikelihood):
        with pytest.raises(UserError, match="labels"):
            model.log_prob(batch(data)[0])


def test_labels_are_ignored_where_it_is_not(name, data):
    model = build(name, data).eval()
    assert model.classes is None
    if isinstance(model, HasLikelihood):
        x, y = batch(data)
        with seeded(7):
            without = model.log_prob(x)
        with seeded(7):
            assert torch.equal(model.log_prob(x, y), without)


def test_trains_in_bfloat16(name, data):
    model = build(name, data)
    jiggle(model)
    x, y = batch(data)
    with torch.autocast("cpu", torch.bfloat16):
        losses = [model.loss(x, y)] if isinstance(model, HasLoss) else []
        if isinstance(model, HasAdversary):
            losses = [model.discriminator_loss(x, y), model.generator_loss(x, y)]
    for terms in losses:
        assert all(term.isfinite().all() and term.dtype == torch.float32 for term in terms.values())
        terms["loss"].mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_codes_decode(name, data):
    model = build(name, data).eval()
    if isinstance(model, Encodes):
        x, _ = batch(data)
        with seeded(8):
            z = model.encode(x)
            decoded = model.decode(z)
        assert decoded.dtype == x.dtype and decoded.shape == x.shape


def test_films_end_with_a_sample(name, data):
    model = build(name, data).eval()
    if isinstance(model, Denoises):
        with seeded(9):
            frames = list(model.film(2))
        with seeded(9):
            sample = model.sample(2)
        assert len(frames) == 5 and torch.equal(frames[-1], sample)
        *_, last = model.film(2, rng=ByNumber(0, 0, 2))
        assert torch.equal(last, model.sample(2, rng=ByNumber(0, 0, 2)))
