import numpy as np
import pytest
import torch

from vistok.tokenizer.quantizers.nearest import as_products, nearest_codes, normalise


def brute_force(vectors, codes):
    """Nearest code in float64 numpy, written down from the definition, with the margin to the second."""
    differences = vectors.double().numpy()[:, None, :] - codes.double().numpy()[None, :, :]
    squared = np.square(differences).sum(axis=2)
    ordered = np.sort(squared, axis=1)
    return squared.argmin(axis=1), ordered[:, 1] - ordered[:, 0], ordered[:, 0]


@pytest.mark.parametrize(("dim", "size"), [(1, 2), (3, 50), (8, 1000), (64, 300)])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_equals_brute_force_where_float32_can_tell(dim, size, offset):
    generator = torch.Generator().manual_seed(dim)
    vectors = torch.randn(500, dim, generator=generator) + offset
    codes = torch.randn(size, dim, generator=generator) + offset
    expected, margin, _ = brute_force(vectors, codes)
    found = nearest_codes(vectors, codes).numpy()
    clear = margin > 1e-4
    assert clear.mean() > 0.95
    assert (found[clear] == expected[clear]).all()


@pytest.mark.parametrize("at_once", [1, 7, 100, 10_000])
def test_does_not_depend_on_the_chunk(at_once):
    vectors, codes = torch.randn(97, 5), torch.randn(130, 5)
    assert torch.equal(nearest_codes(vectors, codes, at_once=at_once), nearest_codes(vectors, codes))


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_tie_goes_to_the_lowest_number(at_once):
    code = torch.randn(1, 4)
    codes = torch.cat([torch.full((1, 4), 9.0), code, code, code])
    assert nearest_codes(code.repeat(3, 1), codes, at_once=at_once).tolist() == [1, 1, 1]


def test_distances_stay_float32_under_autocast():
    vectors, codes = torch.randn(2000, 8), torch.randn(4096, 8)
    exact = nearest_codes(vectors, codes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nearest_codes(vectors, codes), exact)
    rounded = (vectors.bfloat16() @ codes.bfloat16().T).float() - codes.square().sum(1) / 2
    assert (rounded.argmax(1) != exact).any(), "bfloat16 distances would have passed this test"


def test_never_holds_all_distances(monkeypatch):
    largest = 0
    real = torch.mm

    def spy(*args, **kwargs):
        nonlocal largest
        result = real(*args, **kwargs)
        largest = max(largest, result.numel())
        return result

    monkeypatch.setattr(torch, "mm", spy)
    nearest_codes(torch.randn(300, 4), torch.randn(5000, 4), at_once=10_000)
    assert 0 < largest <= 10_000


def test_cosine_is_nearest_on_the_sphere():
    vectors, codes = torch.randn(200, 6), torch.randn(40, 6) * torch.rand(40, 1) * 10
    found = nearest_codes(normalise(vectors, "cosine"), normalise(codes, "cosine"))
    unit = lambda x: x.double() / x.double().norm(dim=1, keepdim=True)  # noqa: E731
    assert torch.equal(found, (unit(vectors) @ unit(codes).T).argmax(1))


@pytest.mark.parametrize(("count", "size", "dim"), [(1, 2, 1), (70, 130, 5), (64, 64, 32), (3, 1000, 40)])
@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
def test_the_fused_kernel_finds_the_same_codes(count, size, dim, similarity):
    pytest.importorskip("triton")
    from vistok.tokenizer.quantizers.nearest_triton import greatest_products

    device = "cuda" if torch.cuda.is_available() else "cpu"
    vectors, codes = torch.randn(count, dim, device=device), torch.randn(size, dim, device=device)
    codes[size // 2] = codes[0]  # a tie
    found = greatest_products(*as_products(vectors, codes, similarity))
    assert torch.equal(found.cpu(), nearest_codes(vectors.cpu(), codes.cpu(), similarity))


def test_dot_takes_the_greatest_product():
    vectors, codes = torch.randn(200, 6), torch.randn(50, 6)
    assert torch.equal(nearest_codes(vectors, codes, "dot"), (vectors.double() @ codes.double().T).argmax(dim=1))
