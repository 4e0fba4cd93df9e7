"""The Leech lattice: its shortest vectors by their laws, and the search against all of them."""

import math

import numpy as np
import pytest
import torch

from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.lattice.leech_vectors import LeechVectors, golay_words

LATTICE = LeechVectors()
COUNT = 196_560


@pytest.fixture(scope="module")
def whole():
    """All vectors times sqrt(32), `k 24`, whole numbers in float64."""
    codes = LATTICE.codes(torch.arange(COUNT)).double() * math.sqrt(32)
    assert (codes - codes.round()).abs().max() < 1e-5
    return codes.round()


def brute_force(vectors, whole):
    """The first of the max dot products in float64."""
    table = whole.numpy().T
    return np.concatenate([(part.double().numpy() @ table).argmax(axis=1) for part in vectors.split(25)])


def test_the_golay_code_is_linear_with_the_weights_of_the_book():
    words = golay_words()
    assert len(set(words)) == 4096
    assert all(number == word & 0xFFF for number, word in enumerate(words))
    weights = np.unique([word.bit_count() for word in words], return_counts=True)
    assert [array.tolist() for array in weights] == [[0, 8, 12, 16, 24], [1, 759, 2576, 759, 1]]
    known = set(words)
    assert all(one ^ other in known for one in words[::91] for other in words[::37])


def test_all_vectors_are_distinct_and_of_one_length(whole):
    assert whole.shape == (COUNT, 24) and LATTICE.count == COUNT
    assert (whole.square().sum(dim=1) == 32).all()
    # As numbers in base 9 of two halves, which an int64 holds.
    powers = 9 ** torch.arange(12)
    halves = (whole.long() + 4).split(12, dim=1)
    keys = np.stack([(half * powers).sum(dim=1).numpy() for half in halves])
    assert len({*zip(*keys.tolist(), strict=True)}) == COUNT


def test_angles_are_those_of_the_kissing_configuration(whole):
    """From every vector 1, 4600, 47104, 93150, 47104, 4600, 1 others have cosine 1, 1/2, 1/4, 0, -1/4, -1/2, -1."""
    chosen = whole[torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))[:24]]
    chosen = torch.cat([chosen, whole[[0, 97_151, 97_152, 195_455, 195_456, -1]]])
    cosines = (chosen @ whole.T / 32).numpy()
    for row in cosines:
        values, counts = np.unique(row, return_counts=True)
        assert values.tolist() == [-1, -0.5, -0.25, 0, 0.25, 0.5, 1]
        assert counts.tolist() == [1, 4600, 47104, 93150, 47104, 4600, 1]


def test_sums_of_vectors_at_120_degrees_are_vectors_again(whole):
    """What makes it a lattice: of a and b with a.b = -1/2, a + b has length 1 and is a code that the search finds."""
    one = whole[[0, 100_000, 196_000]]
    for vector in one:
        others = whole[(whole @ vector) == -16][::23]
        sums = others + vector
        found = LATTICE.nearest((sums / 32**0.5).float())
        assert torch.equal(whole[found], sums)


def unit(vectors):
    return torch.nn.functional.normalize(vectors, dim=1)


def hard_vectors(whole):
    """Vectors of all kinds, by name; those with ties are exact in binary."""
    generator = torch.Generator().manual_seed(0)

    def random(count):
        return torch.randn(count, 24, generator=generator)

    def some(count):
        return whole[torch.randint(COUNT, (count,), generator=generator)].float()

    sparse = random(150) * (torch.rand(150, 24, generator=generator) < 0.15)
    return {
        "spread evenly": unit(random(250)),
        "near a code": unit(some(150) / 32**0.5 + 0.15 * random(150)),
        "between two codes": (some(150) + some(150)) / 16,
        "between three codes": (some(150) + some(150) + some(150)) / 16,
        "whole numbers": torch.randint(-3, 4, (150, 24), generator=generator).float() / 4,
        "few channels": unit(sparse),
        "axes": torch.cat([torch.eye(24), -torch.eye(24), torch.zeros(1, 24), torch.full((1, 24), -0.2)]),
        "of very different sizes": unit(random(150) * torch.logspace(0, -8, 24)),
        "one size, signs at random": random(150).sign() * 0.2,
    }


@pytest.mark.parametrize("kind", range(9))
def test_the_search_equals_brute_force_and_a_tie_goes_to_the_lowest_index(whole, kind):
    name, vectors = list(hard_vectors(whole).items())[kind]
    expected = brute_force(vectors, whole)
    assert (LATTICE.nearest(vectors).numpy() == expected).all(), name


def test_every_kind_of_code_is_its_own_nearest(whole):
    numbers = torch.cat([torch.arange(0, COUNT, 151), torch.arange(195_300, COUNT)])
    assert torch.equal(LATTICE.nearest(LATTICE.codes(numbers)), numbers)


def test_nothing_of_the_size_of_the_table_is_kept():
    quantizer = build_quantizer({"name": "leech"})
    assert not quantizer.state_dict() and not list(quantizer.parameters())
    assert sum(buffer.numel() for buffer in quantizer.buffers()) < 20_000


def test_the_device_is_not_waited_for():
    """Tensors without values can be searched and looked up: no value decides what is done."""
    lattice = LeechVectors().to("meta")
    assert lattice.codes(lattice.nearest(torch.empty(3000, 24, device="meta"))).shape == (3000, 24)


def test_a_device_without_float64_leaves_the_search_to_the_cpu(monkeypatch):
    vectors = torch.rand(50, 24) * 2 - 1
    expected = LATTICE.nearest(vectors)
    types = iter([torch.float32, torch.float64])
    monkeypatch.setattr("vistok.tokenizer.quantizers.lattice.leech_vectors.widest_float", lambda _: next(types))
    assert torch.equal(LATTICE.nearest(vectors), expected) and next(types, None) is None


def test_the_type_of_the_weights_changes_nothing():
    latent = torch.randn(1, 24, 5, 5)
    quantizer = build_quantizer({"name": "leech"})
    before = quantizer(latent)
    after = quantizer.bfloat16()(latent)
    assert torch.equal(before.tokens, after.tokens) and torch.equal(before.latent, after.latent)


def test_length_does_not_count_and_what_is_not_finite_gets_a_code():
    latent = torch.randn(1, 24, 3, 3)
    quantizer = build_quantizer({"name": "leech"}).eval()
    assert torch.equal(quantizer(latent).tokens, quantizer(latent * 1024).tokens)
    with torch.no_grad():
        latent[0, 3, 0, 0], latent[0, 4, 1, 1], latent[0, :, 2, 2] = torch.nan, torch.inf, 0
        result = quantizer(latent)
    assert result.tokens[0, 0, 2, 2] == 0 and result.latent.isfinite().all()


@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_the_gradient_goes_through_the_sphere(gradient):
    """Along the latent the gradient is 0; across it, that of the estimator over the latent's length."""
    latent = torch.randn(1, 24, 1, 1, dtype=torch.float64).float().requires_grad_()
    quantizer = build_quantizer({"name": "leech", "gradient": gradient})
    upstream = torch.randn(24)
    quantized = quantizer(latent).latent
    (found,) = torch.autograd.grad(quantized, latent, upstream.reshape(1, 24, 1, 1))
    z, q, g = (x.detach().flatten().double() for x in (latent, quantized, upstream))
    u = z / z.norm()
    if gradient == "rotation":  # the transpose turns back from q to u in their plane
        r = (u + q) / (u + q).norm()
        turn = torch.eye(24, dtype=torch.float64) - 2 * torch.outer(r, r) + 2 * torch.outer(q, u)
        g = turn.T @ g
    assert torch.allclose(found.flatten().double(), (g - (g @ u) * u) / z.norm(), atol=1e-5)
    assert abs(float(found.flatten().double() @ z)) < 1e-5


def test_even_latents_use_even_codes():
    """All cells are of one size: each shape gets its fraction of the codes, and about n^2 / 2k of n latents share a code."""
    latent = torch.randn(1, 24, 1, 4000, generator=torch.Generator().manual_seed(0))
    tokens = build_quantizer({"name": "leech"}).eval()(latent).tokens.flatten()
    sizes = [97_152, 98_304, 1_104]
    counts = torch.bincount(torch.bucketize(tokens, torch.tensor([97_152, 195_456]), right=True), minlength=3)
    for count, size in zip(counts.tolist(), sizes, strict=True):
        expected = 4000 * size / COUNT
        assert abs(count - expected) < 4 * expected**0.5
    assert len(tokens.unique()) == pytest.approx(4000 * (1 - 4000 / (2 * COUNT)), abs=40)


def test_white_latents_are_near_the_bound_of_the_rate():
    """Of N(0, I) no 17.6 bits for 24 channels leave less than 2^(-2 * 17.6 / 24) of the variance (Shannon)."""
    latent = torch.randn(1, 24, 1, 3000, generator=torch.Generator().manual_seed(0))
    codes = build_quantizer({"name": "leech"}).eval()(latent).latent
    scale = (latent * codes).sum() / codes.square().sum()  # what a linear map behind the codes would learn
    left = float((latent - scale * codes).square().mean() / latent.square().mean())
    assert 2 ** (-2 * math.log2(COUNT) / 24) < left < 0.42
