import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
import torch

from vistok.tokenizer.quantizers.search import chunked as nearest_chunks
from vistok.tokenizer.quantizers.search import exact as nearest_certainty
from vistok.tokenizer.quantizers.search import nearest
from vistok.tokenizer.quantizers.search.nearest import nearest_codes, normalise, scores


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


@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_is_the_float64_search_on_any_chunk_and_alone(case, similarity):
    vectors, codes = case()
    found = nearest_codes(vectors, codes, similarity)
    assert torch.equal(found, in_float64(vectors, codes, similarity))
    for at_once in (999, 30_000):
        assert torch.equal(nearest_codes(vectors, codes, similarity, at_once=at_once), found)
    assert torch.equal(torch.cat([nearest_codes(row, codes, similarity) for row in vectors[:30].split(1)]), found[:30])


@pytest.mark.parametrize("at_once", [1, 7, 100, 10_000])
def test_does_not_depend_on_the_chunk(at_once):
    vectors, codes = torch.randn(20, 5), torch.randn(130, 5)
    codes[70:90] = codes[20:40]
    assert torch.equal(nearest_codes(vectors, codes, at_once=at_once), nearest_codes(vectors, codes))


def test_ordinary_rows_are_searched_once(monkeypatch):
    again = []
    real = nearest.settle
    monkeypatch.setattr(nearest, "settle", lambda *args: again.append(len(args[0])) or real(*args))
    for dim in (8, 64, 256):
        nearest_codes(torch.randn(2000, dim), torch.randn(2000, dim))
    assert sum(again) < 0.01 * 6000


def test_equal_codes_are_compared_once(monkeypatch):
    compared = []
    real = nearest_certainty._sums
    monkeypatch.setattr(nearest_certainty, "_sums", lambda terms: compared.append(len(terms)) or real(terms))
    kinds = torch.randn(3, 4)
    found = nearest_codes(torch.randn(50, 4), kinds.repeat(1000, 1))
    assert found.max() < 3 and 0 < sum(compared) <= 50


def test_nothing_and_not_a_number():
    codes = torch.randn(50, 3)
    assert nearest_codes(torch.zeros(0, 3), codes).shape == (0,)
    vectors = torch.randn(4, 3)
    expected = nearest_codes(vectors, codes)
    expected[2] = 0
    for broken in (torch.nan, torch.inf, -torch.inf):  # an infinite product with the padding behind the codes is a NaN
        vectors[2, 1] = broken
        assert all(torch.equal(nearest_codes(vectors, codes, at_once=size), expected) for size in (64, 10**6))


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_tie_goes_to_the_lowest_number(at_once):
    code = torch.randn(1, 4)
    codes = torch.cat([torch.full((1, 4), 9.0), code, code, code])
    assert nearest_codes(code.repeat(3, 1), codes, at_once=at_once).tolist() == [1, 1, 1]


def precisions():
    return torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.fp32_precision


def test_reduced_matrix_precision_is_put_aside_and_back(monkeypatch):
    seen = []
    real = torch.baddbmm
    monkeypatch.setattr(torch, "baddbmm", lambda *args, **more: seen.append(precisions()) or real(*args, **more))
    before = precisions()
    try:
        torch.set_float32_matmul_precision("medium")
        allowed = precisions()
        nearest_codes(torch.randn(5, 4), torch.randn(9, 4))
        assert precisions() == allowed != seen[0]
        torch.set_float32_matmul_precision("highest")
        torch.backends.cuda.matmul.fp32_precision = "tf32"  # which makes the getter of the other interface raise
        nearest_codes(torch.randn(5, 4), torch.randn(9, 4))
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cuda.matmul.fp32_precision = before[1]
    assert seen == [("highest", "ieee")] * 2


def test_distances_stay_float32_under_autocast():
    vectors, codes = torch.randn(2000, 8), torch.randn(4096, 8)
    exact = nearest_codes(vectors, codes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nearest_codes(vectors, codes), exact)
    rounded = (vectors.bfloat16() @ codes.bfloat16().T).float() - codes.square().sum(1) / 2
    assert (rounded.argmax(1) != exact).any(), "bfloat16 distances would have passed this test"


def test_never_holds_all_distances(monkeypatch):
    largest = 0
    real = torch.baddbmm

    def spy(*args, **kwargs):
        nonlocal largest
        result = real(*args, **kwargs)
        largest = max(largest, result.numel())
        return result

    monkeypatch.setattr(torch, "baddbmm", spy)
    nearest_codes(torch.randn(300, 4), torch.randn(5000, 4), at_once=10_000)
    assert 0 < largest <= 10_000


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_memory_that_a_thread_keeps_can_be_given_back(one_thread):
    nearest_codes(torch.randn(5, 4), torch.randn(9, 4))
    kept = weakref.ref(nearest_chunks._kept.space)
    nearest_codes(torch.randn(50, 4), torch.randn(90, 4))
    assert kept() is nearest_chunks._kept.space
    nearest_chunks.release_memory()
    assert kept() is None
    assert nearest_codes(torch.ones(1, 4), torch.ones(2, 4)).tolist() == [0]


def test_the_threads_end_with_their_memory():
    nearest_codes(torch.randn(3000, 4), torch.randn(900, 4))
    nearest_chunks.release_memory()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vistok")]


def test_kept_memory_does_not_take_the_default_type(one_thread):
    vectors, codes = torch.randn(20, 4), torch.randn(30, 4)
    expected = nearest_codes(vectors, codes)
    nearest_chunks.release_memory()
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(nearest_codes(vectors, codes), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_no_operation_is_shared_by_threads(monkeypatch):
    """One that is waits for the slowest; a core that another program holds makes each of them slow."""
    seen = []
    for name in ("baddbmm", "addmm", "topk"):
        real = getattr(torch, name, None) or getattr(torch.Tensor, name)
        owner = torch if hasattr(torch, name) else torch.Tensor
        spy = lambda *args, real=real, **more: seen.append(torch.get_num_threads()) or real(*args, **more)  # noqa: E731
        monkeypatch.setattr(owner, name, spy)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for count in (1, 64, 300, 5000):
            vectors, codes = torch.randn(count, 4), torch.randn(1200, 4)
            codes[600:] = codes[:600]
            nearest_codes(vectors, codes)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert len(seen) > 8 and set(seen) == {1}


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


IN_THREADS = """
from concurrent.futures import ThreadPoolExecutor
import torch
from vistok.tokenizer.quantizers.search.nearest import nearest_codes

vectors, codes = torch.randn(3000, 8), torch.randn(2000, 8)
expected = torch.cdist(vectors.double(), codes.double()).argmin(dim=1)

def search_twice(shift):
    with torch.inference_mode():
        first = nearest_codes(vectors[shift:], codes)
    return torch.equal(first, expected[shift:]) and torch.equal(nearest_codes(vectors[shift:], codes), first)

with ThreadPoolExecutor(4) as threads:
    assert all(threads.map(search_twice, range(0, 400, 10)))
"""


def test_threads_do_not_share_memory_and_inference_mode_leaves_it_usable():
    """In a process of its own: one that has searched in threads cannot be forked, as other tests do."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", IN_THREADS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_cosine_is_nearest_on_the_sphere():
    vectors, codes = torch.randn(200, 6), torch.randn(40, 6) * torch.rand(40, 1) * 10
    found = nearest_codes(normalise(vectors, "cosine"), normalise(codes, "cosine"))
    unit = lambda x: x.double() / x.double().norm(dim=1, keepdim=True)  # noqa: E731
    assert torch.equal(found, (unit(vectors) @ unit(codes).T).argmax(1))


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_scores_are_distances_up_to_a_number_a_row(offset):
    vectors, codes = torch.randn(50, 6) + offset, torch.randn(40, 6) + offset
    exact = -(vectors.double().unsqueeze(1) - codes.double()).square().sum(dim=2)
    found = scores(vectors, codes, "euclidean").double()
    assert torch.allclose(found - found[:, :1], exact - exact[:, :1], atol=2e-4)
    assert torch.allclose(scores(vectors, codes, "dot"), vectors @ codes.T)


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
def test_the_fused_kernel_finds_the_same_codes(count, size, dim, similarity, monkeypatch):
    pytest.importorskip("triton")
    from vistok.tokenizer.quantizers.search.triton_kernel import greatest_products

    device = "cuda" if torch.cuda.is_available() else "cpu"
    vectors, codes = torch.randn(count, dim), torch.randn(size, dim)
    codes[size // 2] = codes[0]  # a tie
    table, offsets = codes - 0.5, torch.randn(size)
    products = vectors.double() @ table.double().T + offsets
    best, numbers, second = run_or_skip(greatest_products, *(x.to(device) for x in (vectors, table, offsets)))
    two = products.topk(2, dim=1).values
    assert torch.allclose(best.double(), two[:, 0], atol=1e-4) and torch.allclose(second.double(), two[:, 1], atol=1e-4)
    assert torch.allclose(products.gather(1, numbers.unsqueeze(1)).squeeze(1), two[:, 0], atol=1e-4)
    expected = nearest_codes(vectors, codes, similarity)
    if device == "cpu":
        monkeypatch.setattr(nearest, "greatest_products", lambda *args, at_once: greatest_products(*args))
    assert torch.equal(nearest_codes(vectors.to(device), codes.to(device), similarity).cpu(), expected)


def test_the_fused_kernel_gives_an_infinite_vector_a_legal_number():
    pytest.importorskip("triton")
    from vistok.tokenizer.quantizers.search.triton_kernel import greatest_products

    device = "cuda" if torch.cuda.is_available() else "cpu"
    vectors, codes = torch.randn(3, 5), torch.randn(48, 5)
    vectors[1, 0], vectors[2, 0] = torch.inf, -torch.inf
    with np.errstate(invalid="ignore"):
        _, numbers, _ = run_or_skip(greatest_products, *(x.to(device) for x in (vectors, codes, torch.zeros(48))))
    assert ((numbers >= 0) & (numbers < 48)).all()


def test_without_triton_there_is_no_kernel(monkeypatch):
    monkeypatch.setitem(sys.modules, "vistok.tokenizer.quantizers.search.triton_kernel", None)
    nearest._kernel.cache_clear()
    try:
        assert nearest._kernel() is None
    finally:
        nearest._kernel.cache_clear()


def test_dot_takes_the_greatest_product():
    vectors, codes = torch.randn(200, 6), torch.randn(50, 6)
    assert torch.equal(nearest_codes(vectors, codes, "dot"), (vectors.double() @ codes.double().T).argmax(dim=1))
