"""What a generative model can do, as small abstract classes.

A model names its capabilities in its class line; training and evaluators ask for a
capability by `isinstance` and never for a family. Three conventions hold everywhere:

- a batch is in the data's own units, going in and coming out: uint8 in 0..levels-1 with
  shape (b, c, h, w) for images, float32 with shape (b, d) for points (`levels` is None);
- a log-probability is that of those values, in nats per sample, shape (b,);
- labels `y` are class indices, shape (b,), or None where the model is unconditional.

Samples take their random numbers from the source `rng` that they are given; all else from
torch's global generator, which whoever calls seeds for every step (`genmodels.seeds`). So a
call is a pure function of the seed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Literal

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from genmodels.seeds import GLOBAL, Random

Batch = Shaped[Tensor, "b *shape"]
Labels = Int[Tensor, "b"]
PerSample = Float[Tensor, "b"]
Terms = dict[str, PerSample]  # terms["loss"] is minimised; every other key is only logged
Denoiser = Callable[[Tensor, Tensor], Tensor]  # D(x, sigma): E[x_0 | x = x_0 + sigma noise]; sigma of shape ()
Bound = Literal["exact", "elbo", "iwae", "vlb", "pf_ode"]


class HasLoss(ABC):
    """Trains by descending one objective."""

    @abstractmethod
    def loss(self, x: Batch, y: Labels | None = None) -> Terms:
        """Objective of each sample; the optimizer descends the mean of `terms["loss"]`."""


class HasAdversary(ABC):
    """Trains as a game between two submodules with disjoint parameters."""

    generator: nn.Module
    discriminator: nn.Module
    discriminator_steps: int  # discriminator updates, each on fresh data, before one generator update

    @abstractmethod
    def generator_loss(self, x: Batch, y: Labels | None = None) -> Terms:
        """Generator's objective on as many fakes as there are samples in `x`."""

    @abstractmethod
    def discriminator_loss(self, x: Batch, y: Labels | None = None) -> Terms:
        """Discriminator's objective on `x` against as many fakes, penalties included."""


class Samples(ABC):
    """Draws samples. `classes` is the number of labels a sample can be asked for; None: unconditional."""

    classes: int | None

    @abstractmethod
    def sample(self, n: int, y: Labels | None = None, rng: Random = GLOBAL) -> Shaped[Tensor, "n *shape"]:
        """`n` samples in data units from p(x), or from p(x|y) with `y` of shape (n,).

        A conditional model that is given no labels draws them uniformly. All that is drawn, labels included,
        comes from `rng`, so that with `seeds.PerSample` a sample does not depend on those it is drawn with; for a
        model that draws elsewhere, samples change with the batch size and the number of processes.
        """


class HasLikelihood(ABC):
    """Scores data. `bound` says what `log_prob` is: exact, or the kind of lower bound.

    Where `bound` is "elbo", one call returns one draw of the log importance weight
    log p(x, z)/q(z|x), so that the log-mean-exp of k calls is the k-sample importance
    bound (Burda et al. 2016, https://arxiv.org/abs/1509.00519).
    """

    bound: Bound

    @abstractmethod
    def log_prob(self, x: Batch, y: Labels | None = None) -> PerSample:
        """log p(x) or log p(x|y) in nats per sample, at least float32, or a draw of its lower bound."""

    def likelihood_protocol(self) -> dict[str, str | int | float]:
        """What a result has to say beside `bound`: `dequantization`, or an ODE solver and its tolerance.

        Nothing where `log_prob` is that of the data as they are, by a formula.
        """
        return {}


class Encodes(ABC):
    """Maps data to codes and back."""

    @abstractmethod
    def encode(self, x: Batch, y: Labels | None = None) -> Float[Tensor, "b *latent"]:
        """Code of each sample: the posterior mean, or the flow's noise."""

    @abstractmethod
    def decode(self, z: Float[Tensor, "b *latent"], y: Labels | None = None) -> Batch:
        """Most likely sample of each code, in data units."""


class Sampler(ABC):
    """A way from noise to data through any denoiser D(x, sigma); its class's name is the sampler's name."""

    steps: int | None  # calls of the denoiser; None: one per noise level of the model

    @abstractmethod
    def __call__(self, denoiser: Denoiser, noise: Tensor, sigmas: Tensor, rng: Random = GLOBAL) -> Iterator[Tensor]:
        """Estimates of the clean data on [-1, 1], one a step, each (b, ...) float32; the last is the sample.

        `noise` is where the way starts, of standard deviation sqrt(data variance + sigmas[-1]²), and
        `sigmas` are the model's noise levels, (T,) float64 on the CPU, increasing. What is drawn comes from `rng`.
        """


class Denoises(ABC):
    """Turns noise into data step by step, so that the way there can be watched."""

    sampler: Sampler  # what `sample` and `film` go by; another may be put in its place

    @abstractmethod
    def film(self, n: int, y: Labels | None = None, rng: Random = GLOBAL) -> Iterator[Shaped[Tensor, "n *shape"]]:
        """The sampler's running estimates of the clean data, first to last, in data units."""
