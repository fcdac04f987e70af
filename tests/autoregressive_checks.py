"""What holds for every autoregressive model: its probabilities, its order, and that its cache changes nothing."""

from itertools import product
from math import prod
from pkgutil import resolve_name
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from genmodels.config.shipped import CONFIGS
from genmodels.context import Context, Unconditional
from genmodels.models.autoregressive import Autoregressive
from genmodels.nn.causal.network import CausalNetwork
from genmodels.parts.conditioners import Label
from genmodels.parts.site_likelihoods import Categorical, MixtureOfLogistics
from genmodels.parts.spaces import Symbols
from genmodels.samplers.direct import Direct
from genmodels.seeds import GLOBAL


def made(
    name: str,
    shape: tuple[int, ...],
    levels: int,
    *,
    classes: int | None = None,
    components: int | None = None,  # of a mixture of logistics; None: categorical
    noise: float = 0.0,
    **settings: Any,
) -> Autoregressive:
    """A model with random weights, moved by some noise, in eval mode; network settings beside these from its YAML."""
    node = OmegaConf.to_container(OmegaConf.load(CONFIGS / "model" / f"{name}.yaml"), resolve=False)["network"]
    written = {key: value for key, value in node.items() if key != "_target_" and "${" not in str(value)}
    likelihood = Categorical(levels=levels)
    if components is not None:
        likelihood = MixtureOfLogistics(levels=levels, components=components, channels=shape[0])
    conditioner = Unconditional(sizes={})
    if classes is not None:
        conditioner = Label(classes=classes, sizes={"vector": classes + 1}, drop=0.0)
    facts = {"shape": shape, "levels": levels, "context": conditioner.sizes, "likelihood": likelihood}
    torch.manual_seed(7)
    model = Autoregressive(
        space=Symbols(shape=shape, levels=levels),
        network=resolve_name(node["_target_"])(**facts, **written | settings),
        site_likelihood=likelihood,
        conditioner=conditioner,
        sampler=Direct(temperature=1.0, truncation=None),
    )
    with torch.no_grad():
        for p in model.parameters() if noise else []:
            p.add_(noise * torch.randn_like(p))
    return model.eval()


def every_code(shape: tuple[int, ...], levels: int) -> Tensor:
    return torch.tensor(list(product(range(levels), repeat=prod(shape))), dtype=torch.uint8).unflatten(1, shape)


def frequencies(x: Tensor, levels: int) -> Tensor:
    """How often each of `every_code` is among the samples."""
    place = levels ** torch.arange(x[0].numel() - 1, -1, -1)
    return (x.flatten(1).long() @ place).bincount(minlength=levels ** x[0].numel())


def chi_square_fits(seen: Tensor, expected: Tensor) -> bool:
    """Within four standard deviations of what draws from the distribution give; few cells may expect few."""
    chi2, free = ((seen - expected) ** 2 / expected).sum().item(), len(expected) - 1
    return abs(chi2 - free) < 4 * (2 * free) ** 0.5


def context_of(model: Autoregressive, n: int) -> Context:
    conditions = {name: torch.arange(n) % field.levels for name, field in model.condition.items()}
    return model.conditioner(conditions)


@torch.no_grad()
def dependences(network: CausalNetwork, codes: Tensor, levels: int, context: Context) -> tuple[Tensor, Tensor]:
    """How much each site's parameters change with every single entry of one code: (sites, entries), and the order."""
    flat = codes.flatten(1)
    entries = flat.shape[1]
    changed = flat.long().repeat(entries, 1)
    changed.diagonal().add_(1 + torch.arange(entries) % (levels - 1)).remainder_(levels)
    moved = network(changed.unflatten(1, codes.shape[1:]), context.repeat(entries)) - network(codes, context)
    return moved.abs().amax(1).T, network.order


def is_causal(moved: Tensor, order: Tensor, *, sees_all: bool, floor: float = 1e-13) -> bool:
    """Each site is blind to itself and to what comes later, and (where `sees_all`) sees all that comes before."""
    in_order = moved[:, order.flatten()].unflatten(1, order.shape).amin(2)  # (sites, sites): all entries of a site
    at_all = moved[:, order.flatten()].unflatten(1, order.shape).amax(2)
    before = torch.ones_like(in_order).tril(-1).bool()
    return bool((at_all[~before] <= floor).all() and (not sees_all or (in_order[before] > floor).all()))


@torch.no_grad()
def cache_error(network: CausalNetwork, codes: Tensor, context: Context) -> float:
    """The largest difference between the stepper's parameters and the whole pass's."""
    whole, stepper, values, worst = network(codes, context), network.stepper(len(codes), context), None, 0.0
    for number, site in enumerate(network.order):
        worst = max(worst, (stepper.step(values) - whole[:, :, number]).abs().max().item())
        values = codes.flatten(1)[:, site].long()
    return worst


@torch.no_grad()
def sample_naively(
    model: Autoregressive,
    n: int,
    condition: dict,
    temperature: float = 1.0,
    x: Tensor | None = None,
    given: int = 0,
) -> Tensor:
    """One whole pass for every site that is not given, with the same random numbers as `sample` and `complete`."""
    code, context = model.space.code, model.conditioner(condition)
    u = torch.zeros(n, prod(code.shape), dtype=code.dtype) if x is None else x.flatten(1).clone()
    for number, site in [*enumerate(model.network.order)][given:]:
        params = model.network(u.unflatten(1, code.shape), context)[:, :, number]
        u[:, site] = model.site_likelihood.sample(params, GLOBAL, temperature).to(code.dtype)
    return u.unflatten(1, code.shape)


def cached_and_naive(model: Autoregressive, n: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    condition = {name: torch.arange(n) % field.levels for name, field in model.condition.items()}
    torch.manual_seed(1)
    cached = model.sample(n, condition)
    torch.manual_seed(1)
    return cached, sample_naively(model, n, condition, temperature)


def learns(model: Autoregressive, x: Tensor, steps: int, lr: float) -> float:
    """Nats per sample of these samples after some steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(x)["loss"].mean().backward()
        optimizer.step()
    return -model.log_prob(x).mean().item()
