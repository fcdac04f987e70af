"""What a generative model can do, as small abstract classes.

A model names its capabilities in its class line; training and evaluators ask for a
capability by `can(model, ...)` and never for a family. Conventions that hold everywhere:

- a batch is in the data's own units, going in and coming out (`genmodels.fields`): uint8 in 0..levels-1 with
  shape (b, c, h, w) for images, float32 (b, d) for points, integers (b, l) for tokens; or a mapping of such tensors;
- a condition is a mapping of such tensors by name, {"label": (b,)}, {"image": (b, c, h, w)}; {}: none;
- a log-probability is that of those values, in nats per sample, shape (b,).

Sampling takes its random numbers from the given source `rng`; everything else takes them from
torch's global generator, which the caller seeds before every step (`genmodels.seeds`). So a
call is a pure function of the seed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from genmodels.errors import UserError
from genmodels.fields import Field, Fields
from genmodels.seeds import GLOBAL, Random

Batch = Shaped[Tensor, "b *shape"] | Mapping[str, Shaped[Tensor, "b ..."]]
Condition = Mapping[str, Shaped[Tensor, "..."]]
PerSample = Float[Tensor, "b"]
Terms = dict[str, PerSample]  # terms["loss"] is minimised; every other key is only logged
Bound = Literal["exact", "elbo", "iwae", "vlb", "pf_ode"]
Protocol = dict[str, Any]  # plain values: numbers, texts, null, and lists or dicts of these

NO_CONDITION: Condition = {}  # never written to


def can(model: object, capability: type) -> bool:
    """Whether this model can do it: its class inherits the capability, and its parts allow it."""
    return why_not(model, capability) is None


def why_not(model: object, capability: type) -> str | None:
    """Why a model cannot do it, as text; None where it can. A model's `lacks` names what its parts do not allow."""
    if not isinstance(model, capability):
        return f"{type(model).__name__} {LACKING_IN_WORDS.get(capability, f'is not {capability.__name__}')}"
    return getattr(model, "lacks", {}).get(capability)


# Training


class HasLoss(ABC):
    """Trains by descending one objective."""

    @abstractmethod
    def loss(self, x: Batch, condition: Condition = NO_CONDITION) -> Terms:
        """Objective of each sample; the optimizer descends the mean of `terms["loss"]`."""


class Player(NamedTuple):
    """One side of a game: the modules that it trains, the loss that it minimises, and how often it takes a step."""

    name: str
    modules: Sequence[nn.Module]  # no two players share a module
    loss: Callable[[Batch, Condition], Terms]
    every: int  # batches for each of its steps; 1: a step on every batch


class HasPlayers(ABC):
    """Trains as a game: several losses, each with its own modules. A step of the run is a step of the last player."""

    @abstractmethod
    def players(self) -> Sequence[Player]:
        """The players in the order of their turns. On batch i those players step whose `every` divides i + 1."""


class Clock(NamedTuple):
    """How far training has come. Schedules depend on it alone, so that a resumed run continues exactly."""

    step: int  # steps of the run so far
    images_seen: int
    total_steps: int  # of the whole run; -1: no end is set


class FollowsClock:
    """A model, or a part of one, with schedules that follow training."""

    def at(self, clock: Clock) -> None:
        """Sets what the clock decides (the weight of a warm-up, a temperature), before every batch and evaluation.

        A pure function of the clock.
        """

    def after_step(self, player: str, clock: Clock) -> None:
        """Runs after an optimizer step of `player` ("model" where there is one loss): clips weights, updates a teacher.

        Its state is in buffers, which are saved; `clock` already counts the step.
        """


class Initialises(ABC):
    """Sets some of its weights from data, once, before the first step."""

    @abstractmethod
    def initialise(self, x: Batch, condition: Condition = NO_CONDITION) -> None:
        """`x` is the first global batch, the same on every process."""


class Prepares(ABC):
    """Computes something from data before an evaluation, such as new batch statistics."""

    @abstractmethod
    def before_evaluation(self, batches: Iterable[tuple[Batch, Condition]]) -> None:
        """`batches` are training data; the model takes as many as it needs. What it sets is not saved."""


# Sampling


class Sampler(ABC):
    """A sampling method with its settings, which can be changed after training (`genmodels.samplers`)."""

    @abstractmethod
    def protocol(self) -> Protocol:
        """Its name and every setting, as `sampler` and `sampler_<setting>`."""

    def check(self, model: "Samples") -> None:  # noqa: B027  most have nothing to refuse
        """UserError where a setting has no meaning for this model."""


class Samples(ABC):
    """Draws samples. `condition` says what they can be conditioned on."""

    condition: Fields = MappingProxyType({})  # {}: unconditional
    samplers: ClassVar[tuple[type, ...]] = ()  # classes of samplers that it can use; (): it has one fixed method
    sampler: Sampler | None = None

    @abstractmethod
    def sample(self, n: int, condition: Condition = NO_CONDITION, rng: Random = GLOBAL) -> Batch:
        """`n` samples in data units from p(x), or from p(x|condition).

        A conditional model without a given condition draws labels uniformly. All random numbers, those of conditions
        included, come from `rng`, so that with `seeds.ByNumber` a sample does not depend on the rest of its batch.
        If a model draws from elsewhere, its samples change with the batch size and the number of processes.
        """

    def use(self, sampler: Sampler) -> None:
        """Uses this sampler from now on; UserError where the model cannot."""
        name = type(self).__name__
        if not isinstance(sampler, self.samplers):
            can_use = ", ".join(kind.__name__ for kind in self.samplers)
            way = f"it takes samplers of the kind {can_use}" if can_use else "it has one way to sample"
            raise UserError(f"{name} cannot be sampled by {type(sampler).__name__}: {way}; choose another sampler=")
        sampler.check(self)
        self.sampler = sampler

    def sampling_protocol(self) -> Protocol:
        """Every setting that changes the samples."""
        return {} if self.sampler is None else self.sampler.protocol()


class HasLikelihood(ABC):
    """Scores data. `bound` says whether `log_prob` is exact, or which lower bound it is.

    Where `bound` is "elbo", each draw is a log importance weight log p(x, z)/q(z|x), so that the log-mean-exp of k
    draws is the k-sample importance bound (Burda et al. 2016, https://arxiv.org/abs/1509.00519).
    """

    bound: Bound
    x: Field  # what a sample is
    condition: Fields = MappingProxyType({})  # the condition of log_prob; {}: log p(x)

    @abstractmethod
    def log_prob(
        self, x: Batch, condition: Condition = NO_CONDITION, *, draws: int | None = None
    ) -> Float[Tensor, "*draws b"]:
        """log p(x) or log p(x|condition) in nats, at least float32, or a draw of its lower bound, (b,).

        `draws`=k gives k independent draws, (k, b), for less than k times the cost where something is shared, such as
        the encoding. An exact model does not need the argument: nobody asks it for several draws. `x` must have the
        type, shape and range of the data (UserError otherwise: `genmodels.fields.require_samples`).
        """

    def likelihood_protocol(self) -> Protocol:
        """What the protocol has to say beside `bound`: `dequantization`, or an ODE solver and its tolerance.

        Empty where a formula gives `log_prob` of the unchanged data.
        """
        return {}


class Completes(ABC):
    """Draws, and scores, the rest of a sample whose first part is given.

    A sample is `sites` values, or groups of values, in an order of the model's own, such as pixels row by row.
    `given` is the number of those that are given, 0..sites (UserError otherwise: `require_given`).
    """

    sites: int

    @abstractmethod
    def complete(self, x: Batch, given: int, condition: Condition = NO_CONDITION, rng: Random = GLOBAL) -> Batch:
        """Each sample with its first `given` sites kept and the others drawn; all random numbers come from `rng`."""

    @abstractmethod
    def log_prob_rest(self, x: Batch, given: int, condition: Condition = NO_CONDITION) -> PerSample:
        """log p(the other sites | the first `given` sites) in nats; with given=0 it is log p(x)."""


def require_given(given: int, sites: int) -> None:
    """UserError unless 0 <= given <= sites."""
    if not 0 <= given <= sites:
        raise UserError(f"given is {given} for samples of {sites} sites, expected 0..{sites}; correct it")


# Codes, denoising, translation


class Encodes(ABC):
    """Maps data to codes and back."""

    @abstractmethod
    def encode(self, x: Batch, condition: Condition = NO_CONDITION) -> Shaped[Tensor, " b *latent"]:
        """Code of each sample: the posterior mean, the noise of a flow, the indices in a codebook."""

    @abstractmethod
    def decode(self, z: Shaped[Tensor, " b *latent"], condition: Condition = NO_CONDITION) -> Batch:
        """Most likely sample of each code, in data units."""


class Compresses(ABC):
    """Can be the frozen first stage of another model, which then models its codes (`genmodels.parts.spaces.OfRun`)."""

    x: Field  # what a sample is
    code: Field

    @abstractmethod
    def compress(self, x: Batch, rng: Random = GLOBAL) -> tuple[Shaped[Tensor, " b *code"], PerSample]:
        """A code u of each sample, and log p(x|u)/q(u|x) in nats, with q(u|x) = 1 where x determines u.

        The sum of this and log p(u) is a draw of a lower bound of log p(x).
        """

    @abstractmethod
    def decompress(self, u: Shaped[Tensor, " b *code"], rng: Random = GLOBAL) -> Batch:
        """A sample of each code, in data units."""


class Level(NamedTuple):
    """How much signal and how much noise: x_t = alpha x_0 + sigma eps. alpha may be 0."""

    alpha: Shaped[Tensor, "*b"]
    sigma: Shaped[Tensor, "*b"]


class Moment(NamedTuple):
    """One moment of denoising: noisy samples and the model's estimate of the clean ones, in data units."""

    level: Level  # of shape ()
    noisy: Batch  # x_t, scaled so that its noise lies within the range of the data
    estimate: Batch  # of the clean data


Denoiser = Callable[[Tensor, Level], Tensor]  # D(x_t, level) = E[x_0|x_t], not clipped; levels of shape () or (b,)


class Denoises(ABC):
    """Turns noise into data step by step; the steps can be shown."""

    @abstractmethod
    def denoiser(self, condition: Condition = NO_CONDITION) -> Denoiser:
        """The model's estimate of clean data from noisy data; samplers, guidance and distillation build on it."""

    @abstractmethod
    def film(self, n: int, condition: Condition = NO_CONDITION, rng: Random = GLOBAL) -> Iterator[Moment]:
        """The steps of the sampler, first to last; the last estimate is the sample."""


class Translates(ABC):
    """Turns samples of one domain into samples of another; the domain is the condition `label`."""

    domains: int

    @abstractmethod
    def translate(self, x: Batch, source: int, target: int, rng: Random = GLOBAL) -> Batch:
        """Each sample of domain `source` as one of domain `target`, in data units."""


LACKING_IN_WORDS: dict[type, str] = {  # for a model without the capability
    Samples: "draws no samples",
    HasLikelihood: "has no likelihood",
    Completes: "completes no samples",
    Encodes: "has no codes",
    Compresses: "has no codes that another model could be trained on",
    Denoises: "is no denoiser",
    Translates: "translates nothing",
}
