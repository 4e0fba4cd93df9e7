"""Work spread over threads that each calculate alone."""

import threading

import pytest
import torch

from vistok.tokenizer.numerics import exact as module
from vistok.tokenizer.numerics.exact import spread


@pytest.fixture(autouse=True)
def _threads_of_torch():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_keep_their_order(threads):
    assert spread(lambda x: x * x, range(20), threads) == [x * x for x in range(20)]
    assert spread(lambda x: x, [], threads) == []


@pytest.mark.parametrize("threads", [2, 4])
def test_each_thread_has_one_of_torch_and_the_others_are_left_alone(threads, monkeypatch):
    torch.set_num_threads(threads)
    monkeypatch.setattr(module, "_pools", {})
    there = threading.Barrier(threads)

    def work(_):
        there.wait(10)  # all threads take part
        torch.rand(100_000).sum()
        return threading.get_ident(), torch.get_num_threads()

    found = spread(work, range(threads), threads)
    assert len({ident for ident, _ in found}) == threads and {number for _, number in found} == {1}
    assert threading.get_ident() not in {ident for ident, _ in found} and torch.get_num_threads() == threads
    seen = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [threads]


def test_one_thread_works_where_it_is_called():
    assert spread(lambda _: threading.get_ident(), [0, 0], 1) == [threading.get_ident()] * 2


def test_work_within_work_waits_for_nobody():
    def inner(x):
        return sum(spread(lambda y: x * y, [1, 2, 3], torch.get_num_threads()))

    assert spread(inner, range(8), 2) == [6 * x for x in range(8)]


def test_an_error_reaches_the_caller_and_the_threads_go_on():
    def fail(x):
        raise ValueError(f"no {x}")

    with pytest.raises(ValueError, match="no 1"):
        spread(fail, [1, 2], 2)
    assert spread(str, [1], 2) == ["1"]
