"""Compares what a model does with what its class line promises.

Each function tests one capability and yields a sentence for each thing that is wrong. `genmodels check` shows them for
any model, and tests/test_models_contract.py runs them on all of ours.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

import torch
from torch import Tensor, nn

from genmodels.capabilities import Batch, Bound, Condition, HasPlayers, Samples, Terms, can
from genmodels.fields import Field, Fields
from genmodels.seeds import ByNumber, seeded
from genmodels.trees import cat, count, part, repeat, tensors

Wrong = Iterator[str]
PER_SAMPLE = "expected one value for each sample"


@dataclass(frozen=True, kw_only=True)
class Held:
    """A model to test, and samples of its data; the checks may change the model."""

    model: Any
    x: Batch
    condition: Condition
    fields: Field | Fields  # what the samples are

    @property
    def n(self) -> int:
        return count(self.x)

    @property
    def told(self) -> Condition:
        """The part of the condition that the model says it is conditional on."""
        return {name: self.condition[name] for name in getattr(self.model, "condition", {})}


def jiggle(model: nn.Module, *, by: float) -> None:
    """Adds random numbers to all weights, since no gradient passes weights that are initialized to zero."""
    with seeded(3), torch.no_grad():
        for p in model.parameters():
            p.add_(by * torch.randn_like(p))


# Training


def objectives(model: Any) -> list[tuple[str, list[nn.Module], Callable[[Batch, Condition], Terms]]]:
    """For each loss its name, the modules that it trains, and the loss itself."""
    if isinstance(model, HasPlayers):
        return [(f"{player.name}'s loss", list(player.modules), player.loss) for player in model.players()]
    return [("loss", [model], model.loss)]


def losses(held: Held) -> Wrong:
    """Every term is finite, and one value for each sample."""
    for name, _, loss in objectives(held.model.train()):
        terms = loss(held.x, held.condition)
        if not isinstance(terms, Mapping) or "loss" not in terms:
            yield f'{name} gives a {type(terms).__name__}, expected a dict with the key "loss"'
            continue
        for key, term in terms.items():
            if tuple(term.shape) != (held.n,):
                yield f"{name}: {key!r} has shape {list(term.shape)} for {held.n} samples, {PER_SAMPLE}"
            elif not term.isfinite().all():
                yield f"{name}: {key!r} is not finite"


def losses_of(model: Any, held: Held) -> Tensor:
    """The value of each loss for each sample, (losses, b)."""
    return torch.stack([loss(held.x, held.condition)["loss"] for _, _, loss in objectives(model)])


def gradients(held: Held) -> Wrong:
    """A gradient reaches every weight that a loss trains; only that of a bias may cancel, as in a critic."""
    none, zero = [], []
    for _, modules, loss in objectives(held.model.train()):
        held.model.zero_grad()
        loss(held.x, held.condition)["loss"].mean().backward()
        moved = [p for module in modules for p in module.parameters() if p.requires_grad]
        none += [p for p in moved if p.grad is None]
        zero += [p for p in moved if p.grad is not None and not p.grad.any()]
    names = {p: name for name, p in held.model.named_parameters()}
    if none:
        found = ", ".join(names[p] for p in none)
        yield f"no gradient reaches {found}: use it in the loss, or set requires_grad=False"
    if found := ", ".join(names[p] for p in zero if not names[p].endswith("bias")):
        yield f"the gradient of {found} is 0: it does not change the loss"


def players(held: Held) -> Wrong:
    """Each trainable weight belongs to one player."""
    names = {id(p): name for name, p in held.model.named_parameters() if p.requires_grad}
    owned = [id(p) for _, modules, _ in objectives(held.model) for m in modules for p in m.parameters()]
    if shared := sorted(name for key, name in names.items() if owned.count(key) > 1):
        yield f"two players train {', '.join(shared)}; a weight must belong to one player"
    if idle := sorted(name for key, name in names.items() if key not in owned):
        yield f"no player trains {', '.join(idle)}; give it to one, or set requires_grad=False"


# Samples


def misfits(x: Batch, fields: Field | Fields, n: int, what: str) -> Wrong:
    """Why `x` cannot be `n` samples of the data."""
    of = [("", fields)] if isinstance(fields, Field) else sorted(fields.items())
    named = dict(tensors(x))
    for name, field in of:
        at, value = f"{what}{name and f', {name},'}", named.get(name)
        if not isinstance(value, Tensor):
            yield f"{at} is no tensor"
        elif tuple(value.shape) != (n, *field.shape):
            yield f"{at} has shape {list(value.shape)}, expected {[n, *field.shape]}"
        elif value.dtype != field.dtype:
            yield f"{at} is of {value.dtype}, expected {field.dtype}, the data's"
        elif not value.isfinite().all():
            yield f"{at} has values that are not finite"
        elif field.levels is not None and not 0 <= int(value.min()) <= int(value.max()) < field.levels:
            yield f"{at} has values {value.min()}..{value.max()}, expected 0..{field.levels - 1}"
        elif value.requires_grad:
            yield f"{at} has a gradient; sample in torch.no_grad()"


def samples(held: Held) -> Wrong:
    """Samples have the data's shape, type and range, and depend on the seed alone."""
    model, n = held.model.eval(), min(3, held.n)
    condition, drawn = part(held.told, slice(n)), []
    for _ in range(2):
        with seeded(1):
            before = torch.get_rng_state()
            drawn.append(model.sample(n, condition))
            draws = not torch.equal(torch.get_rng_state(), before)
    yield from (wrong := [*misfits(drawn[0], held.fields, n, f"sample({n})")])
    if not draws:
        yield "sample draws nothing from rng: every seed gives the same"
    elif not wrong and not same(*drawn):
        yield "sample gives different values with the same seed: its random numbers must come from rng"


def in_batches(model: Any, size: int, n: int, seed: int, condition: Condition) -> Batch:
    """Samples number 0..n-1, drawn `size` at a time."""
    ranges = [(first, min(size, n - first)) for first in range(0, n, size)]
    return cat([model.sample(k, part(condition, slice(i, i + k)), rng=ByNumber(seed, i, k)) for i, k in ranges])


def agreement(held: Held, other: Any) -> Wrong:
    """A copy of the model gives the same samples or, if it draws none, the same loss."""
    outcomes = []
    for model in (held.model.eval(), other.eval()):
        with seeded(1), torch.no_grad():
            outcomes.append(model.sample(held.n, held.told) if can(model, Samples) else losses_of(model, held))
    if not same(*outcomes):
        yield "the loaded model gives different values with the same seed: save all that decides them with the weights"


def independence(held: Held) -> Wrong:
    """A sample does not depend on the rest of its batch; tested in float64, where the rounding of convolutions, which
    depends on the batch size, changes no pixel."""
    model, n, state = held.model.eval().double(), held.n, torch.get_rng_state()
    together = in_batches(model, n, n, 1, held.told)
    if not torch.equal(torch.get_rng_state(), state):
        yield "sample draws from torch's global generator: its random numbers must come from rng"
    if any(not same(in_batches(model, size, n, 1, held.told), together) for size in {n // 3, 2 * n // 3}):
        yield "a sample changes with the batch size: it may depend only on its own draws from rng"


def same(a: Batch, b: Batch) -> bool:
    """Whether two batches are equal; real numbers may differ in the last bits, which depend on the batch size."""
    pairs = zip(tensors(a), tensors(b), strict=True)
    return all(
        torch.allclose(u, v, rtol=1e-9, atol=1e-9) if u.is_floating_point() else torch.equal(u, v)
        for (_, u), (_, v) in pairs
    )


# Likelihood


def likelihood(held: Held) -> Wrong:
    """log_prob is one finite number for each sample, and for integers the logarithm of a probability."""
    with seeded(1):
        found = held.model.eval().log_prob(held.x, held.told)
    if held.model.bound not in get_args(Bound):
        yield f"bound is {held.model.bound!r}, expected one of {', '.join(get_args(Bound))}"
    if tuple(found.shape) != (held.n,):
        yield f"log_prob has shape {list(found.shape)} for {held.n} samples, {PER_SAMPLE}"
    elif found.dtype not in (torch.float32, torch.float64):
        yield f"log_prob is of {found.dtype}, expected at least float32"
    elif not found.isfinite().all():
        yield "log_prob is not finite"
    elif isinstance(held.fields, Field) and held.fields.levels is not None and (found > 0).any():
        yield f"log_prob is up to {found.max():.3g} nats, but a probability of integers is at most 1"


def total_probability(held: Held) -> Wrong:
    """The probabilities of all values of few sites and levels sum to 1, under the condition of the first sample."""
    assert isinstance(held.fields, Field) and held.fields.levels is not None
    every = torch.tensor([*product(range(held.fields.levels), repeat=held.fields.dims)])
    x = every.reshape(-1, *held.fields.shape).to(held.fields.dtype)
    with torch.no_grad():
        total = held.model.eval().log_prob(x, repeat(part(held.told, slice(1)), len(x))).double().exp().sum().item()
    if not abs(total - 1) < 1e-3:
        yield f"the probabilities of all {len(x)} values of {held.fields} sum to {total:.4g}, expected 1"


def completion(held: Held) -> Wrong:
    """A completion keeps what is given, and by the chain rule its likelihood adds up."""
    model, n = held.model.eval(), held.model.sites
    yield from misfits(model.complete(held.x, n // 2, held.told), held.fields, held.n, "complete(x, sites // 2)")
    if not same(model.complete(held.x, n, held.told), held.x):
        yield "complete(x, sites) is not x itself, although all of it is given"
    scores = [model.log_prob_rest(held.x, given, held.told) for given in (0, n)]
    with seeded(1):
        if not torch.allclose(scores[0], model.log_prob(held.x, held.told), rtol=1e-4, atol=1e-4):
            yield "log_prob_rest(x, 0) is not log_prob(x), although nothing is given"
    if scores[1].any():
        yield f"log_prob_rest(x, sites) is up to {scores[1].abs().max():.3g}, expected 0: nothing is left"


# Codes, denoising, translation


def codes(held: Held) -> Wrong:
    """Decoded codes are samples of the data."""
    model = held.model.eval()
    with seeded(8), torch.no_grad():
        decoded = model.decode(model.encode(held.x, held.told), held.told)
    yield from misfits(decoded, held.fields, held.n, "decode(encode(x))")


def compression(held: Held) -> Wrong:
    """Codes are as `code` says, and decompressed codes are samples of the data."""
    model = held.model.eval()
    with seeded(8), torch.no_grad():
        code, correction = model.compress(held.x)
        back = model.decompress(code)
    yield from misfits(code, model.code, held.n, "compress(x)[0]")
    if tuple(correction.shape) != (held.n,):
        yield f"compress(x)[1] has shape {list(correction.shape)}, {PER_SAMPLE}"
    yield from misfits(back, held.fields, held.n, "decompress(code)")


def films(held: Held) -> Wrong:
    """A film ends with the sample."""
    model, condition = held.model.eval(), part(held.told, slice(2))
    *_, last = model.film(2, condition, rng=ByNumber(0, 0, 2))
    if not torch.equal(last.estimate, model.sample(2, condition, rng=ByNumber(0, 0, 2))):
        yield "the last estimate of film is not the sample of the same seed"


def translations(held: Held) -> Wrong:
    """A translation is a sample of the data, and differs from its original."""
    with torch.no_grad():
        y = held.model.eval().translate(held.x, 0, 1)
    yield from (wrong := [*misfits(y, held.fields, held.n, "translate(x, 0, 1)")])
    if not wrong and same(y, held.x):
        yield "translate(x, 0, 1) is x itself"
