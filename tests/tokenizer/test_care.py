import pytest
import torch

from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.care import initialise_codes, kmeans, revive_codes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_kmeans_finds_separate_clusters():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    vectors = (centres.repeat_interleave(50, dim=0) + 0.1 * torch.randn(200, 2, generator=generator(1)))[
        torch.randperm(200)
    ]
    best = min((kmeans(vectors, 4, 20, generator(seed)) for seed in range(5)), key=lambda c: spread(vectors, c))
    assert spread(vectors, best) < 0.05
    ordered = best[(best * torch.tensor([1.0, 2.0])).sum(1).argsort()]
    assert torch.allclose(ordered, centres, atol=0.1)


def distances(a, b):
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def spread(vectors, centres):
    return float(torch.cdist(vectors, centres).min(dim=1).values.square().mean())


def test_kmeans_never_gets_worse_and_leaves_no_code_empty():
    vectors = torch.randn(400, 3, generator=generator(3))
    spreads = [spread(vectors, kmeans(vectors, 20, steps, generator())) for steps in (1, 3, 10)]
    assert spreads == sorted(spreads, reverse=True)
    centres = kmeans(vectors, 20, 10, generator())
    assert torch.cdist(vectors, centres).argmin(1).unique().numel() == 20


def test_kmeans_with_too_few_vectors_is_refused():
    with pytest.raises(ValueError, match="k-means got 3 vectors for 4 codes"):
        kmeans(torch.randn(3, 2), 4, 1, generator())


@pytest.mark.parametrize("name", ["vq", "ema", "simvq"])
def test_initialised_codes_are_the_centres(name):
    quantizer = build_quantizer({"name": name, "dim": 4, "codebook_size": 16})
    vectors = torch.randn(300, 4, generator=generator(2))
    initialise_codes(quantizer.codebook, vectors, 5, generator())
    assert torch.allclose(quantizer.codes(), kmeans(vectors, 16, 5, generator()), atol=1e-4)


def test_kmeans_step_is_the_mean_in_float64_whatever_the_order():
    vectors = torch.randn(500, 3, generator=generator(4)) * 1e3
    first = kmeans(vectors, 8, 1, generator())
    start = vectors[torch.randperm(500, generator=generator())[:8]]
    numbers = (vectors.double().unsqueeze(1) - start.double()).square().sum(dim=2).argmin(dim=1)
    expected = torch.stack([vectors.double()[numbers == code].mean(dim=0) for code in range(8)])
    assert torch.equal(first, expected.float())
    assert torch.equal(first, kmeans(vectors, 8, 1, generator()))


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
