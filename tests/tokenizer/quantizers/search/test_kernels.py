"""The CUDA kernels of the search against float64, in triton's interpreter where there is no GPU."""

import sys
import warnings

import numpy as np
import pytest
import torch

from vistok.tokenizer.quantizers.search import operation
from vistok.tokenizer.quantizers.search.nearest import nearest_codes

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMALL = (64, 64, 4, 1)


@pytest.fixture
def search():
    """Return a function from vectors, codes and options to indices, by the kernels in small blocks."""
    pytest.importorskip("triton")
    from vistok.tokenizer.quantizers.search.kernels.blocks import Blocks
    from vistok.tokenizer.quantizers.search.kernels.search import nearest_by_kernels

    def run(vectors, codes, similarity="euclidean", exact=True, excluded=None, blocks=SMALL):
        given = (vectors.to(DEVICE), codes.to(DEVICE), similarity == "dot", exact)
        excluded = excluded if excluded is None else excluded.to(DEVICE)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "All-NaN")  # numpy's, in the interpreter
                return nearest_by_kernels(*given, excluded, Blocks(*blocks)).cpu()
        except Exception as error:
            if "only 0-dimensional arrays can be converted" not in str(error):
                raise
            pytest.skip("The interpreter of this triton, as that of 3.5, does not work with this numpy.")

    return run


def in_float64(vectors, codes, similarity):
    """Nearest code in float64, written down from the definition; the lowest of equals."""
    vectors, codes = vectors.double().numpy(), codes.double().numpy()
    if similarity == "dot":
        return torch.tensor([int((row * codes).sum(axis=1).argmax()) for row in vectors])
    return torch.tensor([int(np.square(row - codes).sum(axis=1).argmin()) for row in vectors])


def crowded(dim):
    codes = torch.randn(1, dim) + 1e-7 * torch.randn(150, dim)
    return codes[torch.randint(150, (40,))] + 1e-8 * torch.randn(40, dim), codes


def tied(dim):
    codes = torch.randint(-2, 3, (50, dim)).float().repeat(3, 1)
    return torch.randint(-2, 3, (40, dim)).float(), codes


CASES = {
    "random": lambda dim: (torch.randn(70, dim), torch.randn(200, dim)),
    "crowded": crowded,
    "tied": tied,
    "far": lambda dim: (torch.randn(40, dim) + 1e4, torch.randn(150, dim) + 1e4),
    "tiny": lambda dim: (torch.randn(20, dim) * 1e-22, torch.randn(100, dim) * 1e-22),
    "huge": lambda dim: (torch.randn(20, dim) * 1e19, torch.randn(100, dim) * 1e19),
}


@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dim", [1, 8])
def test_every_row_gets_the_code_of_float64(search, case, dim, similarity):
    vectors, codes = CASES[case](dim)
    assert torch.equal(search(vectors, codes, similarity), in_float64(vectors, codes, similarity))


@pytest.mark.parametrize("dim", [64, 130, 256])
@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
def test_channels_in_blocks(search, dim, similarity):
    vectors, codes = torch.randn(9, dim), torch.randn(130, dim)
    codes[100] = codes[3]
    vectors[:3] = codes[[100, 3, 77]]
    assert torch.equal(search(vectors, codes, similarity), in_float64(vectors, codes, similarity))


@pytest.mark.parametrize(("count", "size"), [(1, 1), (1, 2), (65, 64), (3, 2300)])
@pytest.mark.parametrize("exact", [True, False])
def test_any_number_of_vectors_and_codes(search, count, size, exact):
    vectors, codes = torch.randn(count, 5), torch.randn(size, 5)
    codes[size // 2] = codes[0]
    assert torch.equal(search(vectors, codes, exact=exact), in_float64(vectors, codes, "euclidean"))


def test_no_vectors(search):
    assert search(torch.zeros(0, 3), torch.randn(5, 3)).shape == (0,)


@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
def test_what_is_not_finite(search, similarity):
    vectors, codes = torch.randn(12, 6), torch.randn(70, 6)
    expected = in_float64(vectors, codes, similarity)
    for row, value in enumerate((torch.nan, torch.inf, -torch.inf)):
        vectors[row, row] = value
        expected[row] = 0
    assert torch.equal(search(vectors, codes, similarity), expected)
    found = search(vectors, codes, similarity, exact=False)
    assert torch.equal(found[3:], expected[3:]) and ((found >= 0) & (found < 70)).all()
    codes[5, 1], codes[69, 2] = torch.nan, torch.inf  # which no row can be nearest to
    kept = [code for code in range(70) if code not in (5, 69)]
    there = torch.tensor(kept)[in_float64(vectors[3:], codes[kept], "euclidean")]
    assert torch.equal(search(vectors, codes, "euclidean")[3:], there)


def test_excluded_codes_are_passed_over(search):
    vectors, codes = torch.randn(40, 4), torch.randn(150, 4)
    excluded = torch.rand(150) < 0.9
    kept = (~excluded).nonzero().flatten()
    found = search(vectors, codes, exact=False, excluded=excluded)
    assert torch.equal(found, kept[in_float64(vectors, codes[kept], "euclidean")])
    found = search(vectors, codes, exact=False, excluded=torch.ones_like(excluded))
    assert ((found >= 0) & (found < 150)).all()


def test_a_tie_goes_to_the_lowest_code_in_training_too(search):
    vectors, codes = tied(3)
    codes[-1] = -codes[:-1].sum(dim=0)  # a mean of 0, so that nothing rounds
    assert torch.equal(search(vectors, codes, exact=False), in_float64(vectors, codes, "euclidean"))


def test_codes_do_not_depend_on_the_blocks(search):
    vectors, codes = torch.randn(150, 8), torch.randn(1100, 8)
    expected = search(vectors, codes)
    for blocks in ((128, 128, 8, 3), (64, 256, 4, 2)):
        assert torch.equal(search(vectors, codes, blocks=blocks), expected)
        assert torch.equal(search(vectors, codes, exact=False, blocks=blocks), search(vectors, codes, exact=False))


def test_rows_in_doubt_are_settled_by_many_programs_or_few(search, monkeypatch):
    from vistok.tokenizer.quantizers.search.kernels import search as whole

    vectors, codes = crowded(4)
    expected = in_float64(vectors, codes, "euclidean")
    for waves in (1, 2, 40):  # 40 rows are 5 blocks for 2, 4 or 80 programs
        monkeypatch.setattr(whole, "WAVES", waves)
        assert torch.equal(search(vectors, codes), expected)


def test_few_ordinary_rows_are_in_doubt(search, monkeypatch):
    from vistok.tokenizer.quantizers.search.kernels import search as whole

    counts, real = [], whole.settle
    monkeypatch.setattr(whole, "settle", lambda *given: counts.append(int(given[2].counters[0])) or real(*given))
    search(torch.randn(500, 8), torch.randn(1000, 8), blocks=(128, 128, 8, 1))
    search(torch.randn(200, 64), torch.randn(500, 64), blocks=(128, 128, 8, 1))
    assert counts[0] < 15 and counts[1] < 5


def test_a_device_without_kernels_or_triton_is_searched_as_a_cpu_is(monkeypatch):
    cpu = torch.device("cpu")
    assert not operation.has_tensor_cores(cpu)
    monkeypatch.setattr(operation, "has_tensor_cores", lambda device: True)
    monkeypatch.setitem(sys.modules, "vistok.tokenizer.quantizers.search.kernels.search", None)
    operation._search_on.cache_clear()
    try:
        assert operation._search_on(cpu) is operation.nearest_certified
    finally:
        operation._search_on.cache_clear()


def test_where_triton_cannot_start_kernels_the_search_says_so_and_goes_on(search, monkeypatch):
    from vistok.tokenizer.quantizers.search.kernels import search as whole

    def fail():
        raise RuntimeError("Failed to find C compiler.")

    monkeypatch.setattr(operation, "has_tensor_cores", lambda device: True)
    monkeypatch.setattr(whole, "start_triton", fail)
    operation._search_on.cache_clear()
    try:
        with pytest.warns(
            UserWarning, match=r"triton cannot start here \(Failed to find C compiler.\): install a C compiler"
        ):
            assert operation._search_on(torch.device("cpu")) is operation.nearest_certified
    finally:
        operation._search_on.cache_clear()


def test_the_search_takes_the_kernels_where_they_are(search, monkeypatch):
    vectors, codes = torch.randn(30, 8), torch.randn(90, 8)
    expected = search(vectors, codes)
    taken = []
    monkeypatch.setattr(operation, "_search_on", lambda device: lambda z, c, *_: taken.append(1) or search(z, c))
    assert torch.equal(nearest_codes(vectors, codes), expected) and taken == [1]


@pytest.mark.cuda
@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
class TestOnAGPU:
    @pytest.mark.parametrize("similarity", ["euclidean", "dot"])
    @pytest.mark.parametrize("case", CASES)
    @pytest.mark.parametrize("dim", [1, 8, 40, 64, 256])
    def test_codes_are_those_of_the_cpu_without_a_wait(self, case, dim, similarity):
        vectors, codes = CASES[case](dim)
        expected = nearest_codes(vectors, codes, similarity)
        vectors, codes = vectors.cuda(), codes.cuda()
        nearest_codes(vectors, codes, similarity)  # compiles
        torch.cuda.set_sync_debug_mode("error")
        try:
            found = nearest_codes(vectors, codes, similarity)
            nearest_codes(vectors, codes, similarity, exact=False)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert torch.equal(found.cpu(), expected)

    @pytest.mark.parametrize(("count", "size", "dim"), [(4096, 16384, 8), (2048, 65536, 64), (512, 8192, 2048)])
    def test_large_tables(self, count, size, dim):
        vectors, codes = torch.randn(count, dim, device="cuda"), torch.randn(size, dim, device="cuda")
        codes[size // 2] = codes[7]
        vectors[:10] = codes[size // 2]
        for similarity in ("euclidean", "dot"):
            expected = operation.nearest_certified(vectors, codes, similarity == "dot", True)
            assert torch.equal(nearest_codes(vectors, codes, similarity), expected)
            assert torch.equal(nearest_codes(vectors, codes, similarity), expected), (
                "a second call finds something else"
            )

    def test_every_row_in_doubt_finds_the_same_each_time(self):
        vectors, codes = (x.cuda() for x in crowded(8))
        vectors, codes = vectors.repeat(100, 1), codes.repeat(40, 1)
        expected = operation.nearest_certified(vectors, codes, False, True)
        for count in (1, 7, 100, 4000):
            for _ in range(20):
                assert torch.equal(nearest_codes(vectors[:count], codes), expected[:count])

    def test_more_numbers_than_an_int32_counts(self):
        if torch.cuda.mem_get_info()[0] < 32e9:
            pytest.skip("needs 32 GB")
        vectors, codes = torch.empty((1 << 25) + 64, 64, device="cuda").normal_(), torch.randn(16, 64, device="cuda")
        assert torch.equal(nearest_codes(vectors, codes)[-100:], nearest_codes(vectors[-100:], codes))

    def test_a_compiled_program_has_no_breaks(self):
        vectors, codes = torch.randn(200, 8, device="cuda"), torch.randn(500, 8, device="cuda")
        compiled = torch.compile(lambda z, c: nearest_codes(z * 2, c) + 1, fullgraph=True)
        assert torch.equal(compiled(vectors, codes), nearest_codes(vectors * 2, codes) + 1)
