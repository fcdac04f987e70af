"""The codebook is the moving average of what it stands for, on any number of processes; codes are exact."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import one_hot

from genmodels.capabilities import Compresses, HasLikelihood, Samples, can
from genmodels.errors import UserError
from genmodels.parts import quantizers
from genmodels.parts.quantizers import EMACodebook
from genmodels.seeds import seeded
from tests.helpers import build_model

SMALL = ["model.encoder.width=8", "model.decoder.width=8", "model.quantizer.codes=16", "model.quantizer.dim=4"]


def vectors(b: int = 8, d: int = 3, seed: int = 0) -> Tensor:
    """Maps (b, d, 2, 2) around a few places."""
    with seeded(seed):
        return 3 * torch.randn(4, d)[torch.randint(4, (b, 2, 2))].movedim(3, 1) + 0.1 * torch.randn(b, d, 2, 2)


def codebook(codes: int = 6, d: int = 3, decay: float = 0.9, restart_below: float = 0.0) -> EMACodebook:
    with seeded(1):
        return EMACodebook(codes=codes, dim=d, decay=decay, restart_below=restart_below)


def test_codes_are_the_nearest_vectors():
    book, z = codebook().eval(), vectors()
    flat = z.movedim(1, 3).flatten(0, 2)
    expected = torch.cdist(flat, book.codebook).argmin(1).view(8, 2, 2)
    quantized = book(z)
    assert torch.equal(quantized.codes, expected)
    torch.testing.assert_close(quantized.maps, book.codebook[expected].movedim(3, 1))
    nearest = torch.cdist(flat, book.codebook).amin(1).square().view(8, 4).mean(1)
    torch.testing.assert_close(quantized.distance, nearest)
    p = one_hot(expected.flatten(), 6).float().mean(0)
    torch.testing.assert_close(quantized.perplexity.log(), -torch.special.xlogy(p, p).sum())
    assert int(book.updates) == 0, "in eval mode nothing moves"


def test_the_gradient_passes_straight_through():
    book, z = codebook().eval(), vectors().requires_grad_()
    weight = torch.randn(z.shape)
    (gradient,) = torch.autograd.grad((book(z).maps * weight).sum(), z)
    torch.testing.assert_close(gradient, weight)


def test_the_codebook_is_the_smoothed_moving_average():
    book = codebook().train()
    counts, sums = torch.zeros(6), torch.zeros(6, 3)
    for step in range(4):
        z = vectors(seed=step)
        flat, chosen = z.movedim(1, 3).flatten(0, 2), book.nearest(z).flatten()
        book(z)
        counts = 0.9 * counts + 0.1 * torch.bincount(chosen, minlength=6)
        sums = 0.9 * sums + 0.1 * torch.stack([flat[chosen == k].sum(0) for k in range(6)])
        smoothed = (counts + 1e-5) / (counts.sum() + 6e-5) * counts.sum()
        torch.testing.assert_close(book.codebook, sums / smoothed[:, None])
    assert int(book.updates) == 4 and book.codebook.dtype == torch.float32


def test_codes_without_use_begin_again_at_vectors_of_the_batch():
    book, z = codebook(codes=16, decay=0.5, restart_below=0.1).train(), vectors()
    book.codebook[3:].fill_(1e6)  # too far away to be ever used
    used = set(book.nearest(z).flatten().tolist())
    assert used <= {0, 1, 2}
    book(z)
    flat = z.movedim(1, 3).flatten(0, 2)
    restarted = [k for k in range(16) if k not in used]
    assert (torch.cdist(book.codebook[restarted], flat).amin(1) < 1e-2).all()
    assert len(book.codebook[restarted].unique(dim=0)) == len(restarted)
    assert float(book(z).perplexity) > len(used)


def test_a_batch_shared_by_processes_gives_the_same_codebook(monkeypatch):
    """Process r holds every second sample, as the loader cuts a batch; what is reduced is the sum over both."""
    z, n = vectors(), 2
    alone = codebook(codes=16, restart_below=0.1).train()
    books = [codebook(codes=16, restart_below=0.1).train() for _ in range(n)]
    for _ in range(3):
        alone(z)
        sent: list[Tensor] = []
        for rank in range(n):  # what each process would send
            monkeypatch.setattr(quantizers, "processes", lambda rank=rank: (rank, n))
            monkeypatch.setattr(quantizers.dist, "all_reduce", lambda batch, sent=sent: sent.append(batch.clone()))
            twin = codebook(codes=16, restart_below=0.1).train()
            twin.load_state_dict(books[rank].state_dict())
            twin(z[rank::n])
        for rank in range(n):
            monkeypatch.setattr(quantizers, "processes", lambda rank=rank: (rank, n))
            monkeypatch.setattr(quantizers.dist, "all_reduce", lambda batch, sent=sent: batch.copy_(sum(sent)))
            books[rank](z[rank::n])
        monkeypatch.undo()
        assert all(torch.equal(a, b) for a, b in zip(books[0].buffers(), books[1].buffers(), strict=True))
        for a, b in zip(books[0].buffers(), alone.buffers(), strict=True):
            torch.testing.assert_close(a, b)


def test_all_that_training_keeps_is_saved_and_goes_on():
    one, other = (codebook(codes=16, restart_below=0.1).train() for _ in range(2))
    for step in range(4):
        one(vectors(seed=step))
    for step in range(2):
        other(vectors(seed=step))
    resumed = codebook(codes=16, restart_below=0.1).train()
    resumed.load_state_dict(other.state_dict())
    with seeded(123):  # it draws nothing
        for step in range(2, 4):
            resumed(vectors(seed=step))
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), resumed.buffers(), strict=True))
    assert one.state_dict().keys() == dict(one.named_buffers()).keys()


def test_quantizes_in_float32_whatever_the_autocast():
    book, z = codebook().train(), vectors()
    with torch.autocast("cpu", torch.bfloat16):
        quantized = book(z.bfloat16())
    assert quantized.maps.dtype == quantized.distance.dtype == torch.float32


@pytest.mark.parametrize(("size", "places"), [(8, 2), (28, 7)])
def test_codes_of_an_image_and_their_probability(size, places):
    model = build_model("vqvae", *SMALL, shape=(1, size, size)).eval()
    x = torch.randint(17, (3, 1, size, size)).to(torch.uint8)
    u, log_p = model.compress(x)
    assert u.dtype == model.code.dtype == torch.uint8 and u.shape[1:] == model.code.shape == (places, places)
    assert torch.equal(u, model.encode(x)) and int(u.max()) < 16
    torch.testing.assert_close(log_p, -model.loss(x)["distortion"])
    assert model.decode(u).shape == model.decompress(u).shape == x.shape
    assert can(model, Compresses) and not isinstance(model, Samples | HasLikelihood)


def test_the_bound_with_any_prior_of_the_codes_is_below_the_likelihood():
    """On images of two entries of two levels, where p(x) = Σ_u p(u) p(x|u) can be added up over all codes and x."""
    overrides = [*SMALL, "model.quantizer.codes=4", "model.encoder.multipliers=[1]", "model/likelihood=bernoulli"]
    model = build_model("vqvae", *overrides, shape=(1, 1, 2), levels=2).eval()
    xs = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.uint8).view(4, 1, 1, 2)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    codes = torch.arange(4, dtype=torch.uint8).view(4, 1, 1)
    params = model.decoder(model.quantizer.look_up(codes))
    log_p = torch.stack([prior + model.likelihood.log_prob(params, x.expand(4, -1, -1, -1)) for x in xs]).logsumexp(1)
    torch.testing.assert_close(log_p.logsumexp(0), torch.tensor(0.0), atol=1e-6, rtol=0)
    u, correction = model.compress(xs)
    assert (prior[u.flatten().long()] + correction <= log_p + 1e-6).all()


def test_training_uses_many_codes_and_lowers_the_distortion():
    model = build_model("vqvae", *SMALL, "model.encoder.multipliers=[2]", shape=(1, 4, 4)).train()
    x = torch.from_numpy(load_digits().images[:64, None, 2:6, 2:6]).to(torch.uint8)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    first = float(model.loss(x)["distortion"].mean().detach())
    for _ in range(40):
        optimizer.zero_grad()
        terms = model.loss(x)
        terms["loss"].mean().backward()
        optimizer.step()
    assert float(terms["distortion"].mean().detach()) < 0.8 * first
    assert float(terms["perplexity"][0]) > 4
    assert terms.keys() == {"loss", "distortion", "commitment", "perplexity"}


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="VQVAE takes no condition"):
        build_model("vqvae", "model/conditioner=label")
    with pytest.raises(UserError, match="expected at least 2"):
        codebook(codes=1)
    with pytest.raises(UserError, match="decay is 1"):
        codebook(decay=1.0)
