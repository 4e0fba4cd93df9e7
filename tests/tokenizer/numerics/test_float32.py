"""The precision of products is raised for a search and put back, also where several threads search at a time."""

import threading

import pytest
import torch

from vistok.tokenizer.numerics.float32 import full_precision


@pytest.fixture(autouse=True)
def _put_back():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_is_nested():
    torch.set_float32_matmul_precision("medium")
    with full_precision():
        with full_precision():
            pass
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == "medium"


def test_the_last_thread_out_puts_it_back():
    torch.set_float32_matmul_precision("high")
    inside, may_leave, seen = threading.Barrier(2), threading.Event(), []

    def stay():
        with full_precision():
            inside.wait()
            may_leave.wait()
            seen.append(torch.get_float32_matmul_precision())

    thread = threading.Thread(target=stay)
    with full_precision():
        thread.start()
        inside.wait()
    assert torch.get_float32_matmul_precision() == "highest", "another thread is still inside"
    may_leave.set()
    thread.join()
    assert seen == ["highest"] and torch.get_float32_matmul_precision() == "high"
