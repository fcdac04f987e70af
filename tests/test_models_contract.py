"""Every model of configs/model/ keeps the contract of the capabilities that its class names."""

from copy import deepcopy

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from genmodels.capabilities import Denoises, Encodes, HasAdversary, HasLikelihood, HasLoss, Samples
from genmodels.errors import UserError
from genmodels.seeds import ByNumber, seeded
from tests.helpers import CONFIGS, compose_model

MODELS = sorted(file.stem for file in (CONFIGS / "model").glob("*.yaml"))
DATA = {"digits": ((1, 8, 8), 17), "colour": ((3, 8, 8), 256)}
SMALL = {"ddpm": ["model.schedule.steps=20", "sampler.steps=5"], "pixelcnn": ["model.network.width=8"]}


def build(name: str, data: str = "digits", conditional: bool = False) -> nn.Module:
    shape, levels = DATA[data]
    overrides = [*SMALL.get(name, []), f"model.conditional={str(conditional).lower()}"]
    cfg = compose_model(name, *overrides, shape=shape, levels=levels, sampler="ddim")
    with seeded(0):
        return instantiate(cfg.model, _convert_="all")


def batch(data: str = "digits", n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    shape, levels = DATA[data]
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(levels, (n, *shape), generator=generator, dtype=torch.uint8)
    return x, torch.arange(n) % 10


@pytest.fixture(params=MODELS)
def name(request) -> str:
    return request.param


@pytest.mark.parametrize("data", DATA)
def test_samples_are_data(name, data):
    model = build(name, data).eval()
    jiggle(model)
    assert isinstance(model, Samples)
    shape, levels = DATA[data]
    with seeded(1):
        x = model.sample(3)
    assert x.dtype == torch.uint8 and x.shape == (3, *shape) and int(x.max()) < levels
    assert not x.requires_grad
    with seeded(1):
        assert torch.equal(model.sample(3), x)
    with seeded(2):
        assert not torch.equal(model.sample(3), x)


def in_batches(model: nn.Module, size: int, n: int = 6, seed: int = 1) -> torch.Tensor:
    """Samples number 0..n-1, drawn `size` at a time."""
    ranges = [(first, min(size, n - first)) for first in range(0, n, size)]
    return torch.cat([model.sample(count, rng=ByNumber(seed, first, count)) for first, count in ranges])


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("data", DATA)
def test_a_sample_does_not_depend_on_those_it_is_drawn_with(name, data, conditional):
    model = build(name, data, conditional).eval()
    jiggle(model)
    model.double()  # a convolution's last bits follow the batch size; in float64 no pixel notices
    state = torch.get_rng_state()
    together = in_batches(model, 6)
    for size in (2, 4):
        assert torch.equal(in_batches(model, size), together)
    assert torch.equal(torch.get_rng_state(), state), "all that is drawn comes from rng"
    assert len(together.unique(dim=0)) == 6
    assert not torch.equal(in_batches(model, 6, seed=2), together)


@pytest.mark.parametrize("data", DATA)
def test_likelihood_is_that_of_the_integers(name, data):
    model = build(name, data).eval()
    if not isinstance(model, HasLikelihood):
        return
    x, _ = batch(data)
    with seeded(1):
        log_prob = model.log_prob(x)
    assert log_prob.shape == (6,) and log_prob.dtype in (torch.float32, torch.float64)
    assert not log_prob.requires_grad and log_prob.isfinite().all()
    assert (log_prob < 0).all(), "a probability of integers is below 1"
    assert model.bound in ("exact", "elbo", "vlb")


def gradients(model: nn.Module, terms: dict[str, torch.Tensor], x: torch.Tensor) -> None:
    assert all(term.shape == (len(x),) and term.isfinite().all() for term in terms.values())
    terms["loss"].mean().backward()


@pytest.mark.parametrize("conditional", [False, True])
def test_losses_reach_every_parameter(name, conditional):
    model = build(name, conditional=conditional)
    jiggle(model)
    x, y = batch()
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


def test_state_travels(name):
    model = build(name)
    jiggle(model)
    copy = deepcopy(model).eval()
    fresh = build(name).eval()
    fresh.load_state_dict(model.state_dict())
    samples = []
    for each in (copy, fresh):
        with seeded(5):
            samples.append(each.sample(2))
    assert torch.equal(*samples)


def test_labels_matter_where_the_model_is_conditional(name):
    model = build(name, conditional=True).eval()
    jiggle(model)
    assert model.classes == 10
    zeros, ones = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    outputs = []
    for y in (zeros, ones):
        with seeded(6):
            outputs.append(model.sample(4, y))
    assert not torch.equal(*outputs)
    with seeded(6):
        assert model.sample(4).shape == (4, 1, 8, 8)
    if isinstance(model, HasLikelihood):
        with pytest.raises(UserError, match="labels"):
            model.log_prob(batch()[0])


def test_labels_are_ignored_where_it_is_not(name):
    model = build(name).eval()
    assert model.classes is None
    if isinstance(model, HasLikelihood):
        x, y = batch()
        with seeded(7):
            without = model.log_prob(x)
        with seeded(7):
            assert torch.equal(model.log_prob(x, y), without)


def test_trains_in_bfloat16(name):
    model = build(name)
    jiggle(model)
    x, y = batch()
    with torch.autocast("cpu", torch.bfloat16):
        losses = [model.loss(x, y)] if isinstance(model, HasLoss) else []
        if isinstance(model, HasAdversary):
            losses = [model.discriminator_loss(x, y), model.generator_loss(x, y)]
    for terms in losses:
        assert all(term.isfinite().all() and term.dtype == torch.float32 for term in terms.values())
        terms["loss"].mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_codes_decode(name):
    model = build(name).eval()
    if isinstance(model, Encodes):
        x, _ = batch()
        with seeded(8):
            z = model.encode(x)
            decoded = model.decode(z)
        assert decoded.dtype == torch.uint8 and decoded.shape == x.shape


def test_films_end_with_a_sample(name):
    model = build(name).eval()
    if isinstance(model, Denoises):
        with seeded(9):
            frames = list(model.film(2))
        with seeded(9):
            sample = model.sample(2)
        assert len(frames) == 5 and torch.equal(frames[-1], sample)
        *_, last = model.film(2, rng=ByNumber(0, 0, 2))
        assert torch.equal(last, model.sample(2, rng=ByNumber(0, 0, 2)))
