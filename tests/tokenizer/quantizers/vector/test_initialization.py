import pytest
import torch

from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.vector.initialization import initialise_codes, revive_codes
from vistok.tokenizer.quantizers.vector.kmeans import kmeans


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def distances(a, b):
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


@pytest.mark.parametrize("name", ["vq", "ema", "simvq"])
def test_initialised_codes_are_the_centres(name):
    quantizer = build_quantizer({"name": name, "dim": 4, "codebook_size": 16})
    vectors = torch.randn(300, 4, generator=generator(2))
    initialise_codes(quantizer.codebook, vectors, 5, generator())
    assert torch.allclose(quantizer.codes(), kmeans(vectors, 16, 5, generator()), atol=1e-4)


def test_initialised_moving_average_stays_when_latents_are_its_codes():
    quantizer = build_quantizer({"name": "ema", "dim": 4, "codebook_size": 16, "decay": 0.8})
    initialise_codes(quantizer.codebook, torch.randn(300, 4, generator=generator(2)) + 3, 5, generator())
    placed = quantizer.codes().clone()
    assert torch.allclose(quantizer.codebook.sums, placed * quantizer.codebook.counts.unsqueeze(1))
    for latents in (placed, placed[:4], placed[4:5]):
        quantizer(latents.T[None, :, :, None].requires_grad_())
        assert torch.allclose(quantizer.codes(), placed, rtol=1e-3)


@pytest.mark.parametrize("name", ["vq", "ema", "simvq"])
def test_dead_codes_and_only_they_become_vectors(name):
    torch.manual_seed(0)
    quantizer = build_quantizer({"name": name, "dim": 4, "codebook_size": 8})
    before = quantizer.codes().detach().clone()
    vectors = torch.randn(50, 4)
    counts = torch.tensor([3, 0, 1, 0, 0, 9, 2, 1])
    revived = revive_codes(quantizer.codebook, counts, vectors, generator())
    assert revived.tolist() == [1, 3, 4]
    after = quantizer.codes().detach()
    alive = counts > 0
    assert torch.allclose(after[alive], before[alive])
    assert distances(after[~alive], vectors).min(dim=1).values.max() < 1e-4
    assert len(after[~alive].unique(dim=0)) == 3


def test_revived_code_keeps_its_place_in_the_moving_average():
    # Without new counts and sums the next update would throw the code back to where it was.
    quantizer = build_quantizer({"name": "ema", "dim": 4, "codebook_size": 8, "decay": 0.99})
    vectors = torch.randn(50, 4) + 100
    revived = revive_codes(quantizer.codebook, torch.zeros(8, dtype=torch.int64), vectors, generator())
    placed = quantizer.codes()[revived].clone()
    quantizer(vectors[:, :, None, None])
    assert (quantizer.codes()[revived] - placed).norm(dim=1).max() < 5


def test_same_generator_same_codes():
    books = [build_quantizer({"name": "vq", "dim": 4, "codebook_size": 8}).codebook for _ in range(2)]
    vectors = torch.randn(50, 4)
    for book in books:
        revive_codes(book, torch.zeros(8, dtype=torch.int64), vectors, generator(4))
    assert torch.equal(books[0].codes(), books[1].codes())
