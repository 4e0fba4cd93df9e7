"""Nearest-code search against float64, and the one in float32 that training uses."""

import numpy as np
import pytest
import torch

from vistok.tokenizer.numerics import float32
from vistok.tokenizer.quantizers.scale import on_unit_sphere
from vistok.tokenizer.quantizers.search import certified, chunked
from vistok.tokenizer.quantizers.search.nearest import nearest_codes, scores


def in_float64(vectors, codes, similarity="euclidean"):
    """Nearest code in float64 numpy, written down from the definition."""
    codes = codes.double().numpy()
    if similarity == "dot":
        return torch.tensor([int((row * codes).sum(axis=1).argmax()) for row in vectors.double().numpy()])
    return torch.tensor([int(np.square(row - codes).sum(axis=1).argmin()) for row in vectors.double().numpy()])


def clumps(spread):
    middles = torch.randn(32, 1, 256)
    codes = (middles + spread * torch.randn(32, 32, 256)).flatten(0, 1)
    return codes[torch.randperm(1024)[:200]] + spread * torch.randn(200, 256), codes


def far_apart():
    side = lambda count: torch.where(torch.rand(count, 1) < 0.5, -1000.0, 1000.0)  # noqa: E731
    return side(200) + torch.randn(200, 8), side(1024) + torch.randn(1024, 8)


def with_an_outlier():
    return torch.randn(300, 8), torch.cat([torch.randn(500, 8), torch.full((1, 8), 1e4), torch.randn(500, 8)])


def repeated():
    codes = torch.randn(100, 5)
    return torch.randn(200, 5), torch.cat([codes, codes, codes])


def whole_numbers():
    return torch.randint(-2, 3, (300, 3)).float(), torch.randint(-2, 3, (200, 3)).float()


CASES = {
    "one channel": lambda: (torch.randn(500, 1), torch.randn(2, 1)),
    "small": lambda: (torch.randn(97, 5), torch.randn(130, 5)),
    "usual": lambda: (torch.randn(300, 8), torch.randn(5000, 8)),
    "offset": lambda: (torch.randn(300, 8) + 100, torch.randn(1000, 8) + 100),
    "wide": lambda: (torch.randn(200, 200), torch.randn(300, 200)),
    "clumps": lambda: clumps(1e-4),
    "tight clumps": lambda: clumps(1e-6),
    "far apart": far_apart,
    "outlier": with_an_outlier,
    "repeated": repeated,
    "whole numbers": whole_numbers,
    "all the same": lambda: (torch.randn(20, 3), torch.ones(70, 3)),
    "tiny": lambda: (torch.randn(300, 8) * 1e-22, torch.randn(1000, 8) * 1e-22),
    "some alike": lambda: (torch.randn(200, 5), torch.randn(20, 5).repeat(30, 1)),
    "zeros": lambda: (torch.zeros(20, 3), torch.randn(70, 3)),
}


@pytest.fixture
def small_chunks(monkeypatch):
    """Return a function that makes the chunks of both searches small."""

    def shrink(size):
        for name in ("SCORES", "CODES", "VECTORS", "BLOCK"):
            monkeypatch.setattr(chunked, name, {"CODES": 2 * size, "SCORES": 8 * size**2}.get(name, size))
        monkeypatch.setattr(certified, "AT_ONCE", size)

    return shrink


@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_exact_search_is_that_of_float64_on_any_chunk_and_alone(case, similarity, small_chunks):
    vectors, codes = case()
    found = nearest_codes(vectors, codes, similarity)
    assert torch.equal(found, in_float64(vectors, codes, similarity))
    assert torch.equal(torch.cat([nearest_codes(row, codes, similarity) for row in vectors[:30].split(1)]), found[:30])
    small_chunks(16)
    assert torch.equal(nearest_codes(vectors, codes, similarity), found)


@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
@pytest.mark.parametrize("size", [1, 3, 32])
def test_the_search_in_float32_does_not_depend_on_the_chunk(similarity, size, small_chunks):
    vectors, codes = torch.randn(97, 5), torch.randn(130, 5)
    codes[70:90] = codes[20:40]
    expected = nearest_codes(vectors, codes, similarity)
    small_chunks(size)
    assert torch.equal(nearest_codes(vectors, codes, similarity, exact=False), expected)


@pytest.mark.parametrize("case", ["usual", "wide", "whole numbers", "repeated", "offset", "outlier"])
def test_in_float32_a_code_is_missed_by_rounding_alone(case):
    vectors, codes = CASES[case]()
    distance = (vectors.double().unsqueeze(1) - codes.double()).square().sum(dim=2)
    found = distance.gather(1, nearest_codes(vectors, codes, exact=False).unsqueeze(1)).squeeze(1)
    rounding = 1e-6 * (codes - codes.mean(dim=0)).norm(dim=1).double().square().max()
    assert (found - distance.min(dim=1).values).max() <= rounding


@pytest.mark.parametrize("exact", [True, False])
def test_a_tie_goes_to_the_lowest_index(exact, small_chunks):
    whole = torch.randint(-2, 3, (300, 3)).float(), torch.randint(-2, 3, (200, 3)).float()  # products do not round
    whole[1][-1] = -whole[1][:-1].sum(dim=0)  # nor does a mean of 0
    code = torch.randn(1, 4)
    for size in (64, 1):
        assert torch.equal(nearest_codes(*whole, exact=exact), in_float64(*whole))
        assert torch.equal(nearest_codes(*whole, "dot", exact=exact), in_float64(*whole, "dot"))
        codes = torch.cat([torch.full((1, 4), 9.0), code, code, code])
        assert nearest_codes(code.repeat(3, 1), codes, exact=exact).tolist() == [1, 1, 1]
        small_chunks(size)


def test_ordinary_rows_are_searched_once(monkeypatch):
    again = []
    real = certified.nearest_in_float64
    monkeypatch.setattr(certified, "nearest_in_float64", lambda *args: again.append(len(args[0])) or real(*args))
    for dim in (8, 64, 256):
        nearest_codes(torch.randn(2000, dim), torch.randn(2000, dim))
    nearest_codes(*with_an_outlier())
    assert sum(again) < 0.01 * 6000


def test_nothing_and_not_a_number(small_chunks):
    codes = torch.randn(50, 3)
    assert all(nearest_codes(torch.zeros(0, 3), codes, exact=exact).shape == (0,) for exact in (True, False))
    vectors = torch.randn(4, 3)
    expected = nearest_codes(vectors, codes)
    expected[2] = 0
    for broken in (torch.nan, torch.inf, -torch.inf):  # an infinite product with the padding behind the codes is a NaN
        vectors[2, 1] = broken
        assert torch.equal(nearest_codes(vectors, codes), expected)
        found = nearest_codes(vectors, codes, exact=False)
        assert torch.equal(found[[0, 1, 3]], expected[[0, 1, 3]]) and 0 <= found[2] < 50
        small_chunks(4)


def test_reduced_matrix_precision_changes_no_exact_code():
    vectors, codes = torch.randn(300, 8), torch.randn(2000, 8)
    expected = nearest_codes(vectors, codes)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert torch.equal(nearest_codes(vectors, codes), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("exact", [True, False])
def test_a_search_sets_nothing(monkeypatch, exact):
    vectors, codes = torch.randn(500, 8), torch.randn(40, 8)
    expected = in_float64(vectors, codes)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", None)
    monkeypatch.setattr(float32._SETTINGS, "held", None)
    assert torch.equal(nearest_codes(vectors, codes, exact=exact), expected)


def test_where_products_are_reduced_all_rows_are_searched_in_float64(monkeypatch):
    seen, real = [], certified.nearest_in_float64
    monkeypatch.setattr(certified, "multiplies_in_float32", lambda device: False)
    monkeypatch.setattr(certified, "nearest_in_float64", lambda *args: seen.append(len(args[0])) or real(*args))
    vectors, codes = torch.randn(300, 8), torch.randn(400, 8)
    assert torch.equal(nearest_codes(vectors, codes), in_float64(vectors, codes)) and seen == [300]
    nearest_codes(vectors, codes, exact=False)
    assert seen == [300]


def test_distances_stay_float32_under_autocast():
    vectors, codes = torch.randn(2000, 8), torch.randn(4096, 8)
    expected = nearest_codes(vectors, codes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nearest_codes(vectors, codes), expected)
        assert torch.equal(nearest_codes(vectors, codes, exact=False), expected)
    rounded = (vectors.bfloat16() @ codes.bfloat16().T).float() - codes.square().sum(1) / 2
    assert (rounded.argmax(1) != expected).any(), "bfloat16 distances would have passed this test"


def test_no_more_scores_than_a_chunk_are_held(monkeypatch, small_chunks):
    sizes, real = [], torch.baddbmm
    monkeypatch.setattr(torch, "baddbmm", lambda *args, out: sizes.append(out.numel()) or real(*args, out=out))
    small_chunks(16)
    nearest_codes(torch.randn(300, 4), torch.randn(5000, 4))
    assert len(sizes) > 100 and max(sizes) <= chunked.SCORES


def test_nor_numbers_of_pairs_that_float64_compares(monkeypatch):
    sizes, real = [], torch.Tensor.square
    monkeypatch.setattr(torch.Tensor, "square", lambda self: sizes.append(self.numel()) or real(self))
    monkeypatch.setattr(certified, "AT_ONCE", 5000)
    assert not nearest_codes(torch.randn(50, 4), torch.ones(1000, 4)).any()
    assert max(sizes) <= 5000


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
def test_does_not_depend_on_the_number_of_threads(threads, similarity):
    vectors, codes = torch.randn(3001, 6), torch.randn(2000, 6)
    codes[1000:] = codes[:1000]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = nearest_codes(vectors, codes, similarity)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, in_float64(vectors, codes, similarity))


def test_cosine_is_nearest_on_the_sphere():
    vectors, codes = torch.randn(200, 6), torch.randn(40, 6) * torch.rand(40, 1) * 10
    found = nearest_codes(on_unit_sphere(vectors), on_unit_sphere(codes), "cosine")
    unit = lambda x: x.double() / x.double().norm(dim=1, keepdim=True)  # noqa: E731
    assert torch.equal(found, (unit(vectors) @ unit(codes).T).argmax(1))


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_scores_are_distances_up_to_a_constant_of_each_row(offset):
    vectors, codes = torch.randn(50, 6) + offset, torch.randn(40, 6) + offset
    exact = -(vectors.double().unsqueeze(1) - codes.double()).square().sum(dim=2)
    found = scores(vectors, codes, "euclidean").double()
    assert torch.allclose(found - found[:, :1], exact - exact[:, :1], atol=2e-4)
    assert torch.allclose(scores(vectors, codes, "dot"), vectors @ codes.T)


def test_dot_takes_the_maximum_product():
    vectors, codes = torch.randn(200, 6), torch.randn(50, 6)
    assert torch.equal(nearest_codes(vectors, codes, "dot"), (vectors.double() @ codes.double().T).argmax(dim=1))


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_a_code_that_is_not_finite_leaves_the_others_as_they_are(broken):
    vectors, codes = torch.randn(30, 6), torch.randn(70, 6)
    codes[69] = codes[0]
    vectors[0], vectors[1, 2] = codes[69], torch.nan
    kept = [code for code in range(70) if code != 5]
    distances = (vectors.double()[:, None] - codes.double()[kept]).square().sum(dim=2)
    expected = torch.tensor(kept)[distances.argmin(dim=1)]
    expected[1] = 0
    codes[5, 1] = broken
    assert torch.equal(nearest_codes(vectors, codes), expected)
