"""The CUDA kernel of the search, in triton's interpreter where there is no GPU."""

import sys

import numpy as np
import pytest
import torch

from vistok.tokenizer.quantizers.search import nearest
from vistok.tokenizer.quantizers.search.nearest import nearest_codes


def run_or_skip(kernel, *arguments):
    """Run a kernel; skip the test where triton's interpreter is older than numpy, as that of 3.5 with numpy 2.4."""
    try:
        return [found.cpu() for found in kernel(*arguments)]
    except Exception as error:
        if "only 0-dimensional arrays can be converted" not in str(error):
            raise
        pytest.skip("The interpreter of this triton does not work with this numpy.")


@pytest.mark.parametrize(
    ("count", "size", "dim"),
    [(1, 2, 1), (70, 130, 5), (64, 64, 32), (3, 1000, 40), (2, 2100, 16), (5, 70, 128), (5, 70, 130)],
)
@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
def test_the_kernel_finds_the_same_codes(count, size, dim, similarity, monkeypatch):
    pytest.importorskip("triton")
    from vistok.tokenizer.quantizers.search.triton_kernel import two_best

    device = "cuda" if torch.cuda.is_available() else "cpu"
    vectors, codes = torch.randn(count, dim), torch.randn(size, dim)
    codes[size // 2] = codes[0]  # a tie
    table, offsets = codes - 0.5, torch.randn(size)
    products = vectors.double() @ table.double().T + offsets
    best, indices, second = run_or_skip(two_best, *(x.to(device) for x in (vectors, table, offsets)))
    two = products.topk(2, dim=1).values
    assert torch.allclose(best.double(), two[:, 0], atol=1e-4) and torch.allclose(second.double(), two[:, 1], atol=1e-4)
    assert torch.allclose(products.gather(1, indices.unsqueeze(1)).squeeze(1), two[:, 0], atol=1e-4)
    expected = nearest_codes(vectors, codes, similarity)
    if device == "cpu":
        monkeypatch.setattr(nearest, "_two_best", lambda on_cuda: two_best)
    assert torch.equal(nearest_codes(vectors.to(device), codes.to(device), similarity).cpu(), expected)


def test_the_kernel_gives_an_infinite_vector_a_legal_index():
    pytest.importorskip("triton")
    from vistok.tokenizer.quantizers.search.triton_kernel import two_best

    device = "cuda" if torch.cuda.is_available() else "cpu"
    vectors, codes = torch.randn(3, 5), torch.randn(48, 5)
    vectors[1, 0], vectors[2, 0] = torch.inf, -torch.inf
    with np.errstate(invalid="ignore"):
        _, indices, _ = run_or_skip(two_best, *(x.to(device) for x in (vectors, codes, torch.zeros(48))))
    assert ((indices >= 0) & (indices < 48)).all()


def test_without_triton_there_is_no_kernel(monkeypatch):
    monkeypatch.setitem(sys.modules, "vistok.tokenizer.quantizers.search.triton_kernel", None)
    nearest._two_best.cache_clear()
    try:
        assert nearest._two_best(True) is nearest._two_best(False)
    finally:
        nearest._two_best.cache_clear()
