"""Settings of the process are held and restored, also where several threads overlap."""

import threading

import pytest
import torch

from vistok.tokenizer.numerics.float32 import multiplies_in_float32, own_numerics

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _restore():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_is_nested():
    torch.set_float32_matmul_precision("medium")
    with own_numerics(CPU):
        with own_numerics(CPU):
            pass
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == "medium"


def test_the_last_thread_out_puts_it_back():
    torch.set_float32_matmul_precision("high")
    inside, may_leave, seen = threading.Barrier(2), threading.Event(), []

    def stay():
        with own_numerics(CPU):
            inside.wait()
            may_leave.wait()
            seen.append(torch.get_float32_matmul_precision())

    thread = threading.Thread(target=stay)
    with own_numerics(CPU):
        thread.start()
        inside.wait()
    assert torch.get_float32_matmul_precision() == "highest", "another thread is still inside"
    may_leave.set()
    thread.join()
    assert seen == ["highest"] and torch.get_float32_matmul_precision() == "high"


@pytest.mark.parametrize(("precision", "expected"), [("highest", True), ("high", False), ("medium", False)])
def test_reduced_products_are_known(precision, expected):
    torch.set_float32_matmul_precision(precision)
    assert multiplies_in_float32(CPU) == multiplies_in_float32(torch.device("cuda")) == expected
    with own_numerics(CPU):
        assert multiplies_in_float32(CPU)
