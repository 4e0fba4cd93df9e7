"""A CUDA device that computes nothing: what runs on it shows types, sizes and what is kept, on any machine."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode


@contextmanager
def fake_cuda(autocast: torch.dtype | None = None) -> Iterator[None]:
    """Make tensors on CUDA shapes without values in the body, where new tensors are on CUDA; skip where torch cannot."""
    try:
        with FakeTensorMode(), torch.device("cuda"):
            torch.nn.Linear(2, 2)
    except RuntimeError:  # torch 2.9 without a driver
        pytest.skip("this version of torch has no fake GPU on a machine without one")
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    with FakeTensorMode(), torch.device("cuda"):
        if autocast is not None:  # torch.autocast turns itself off on a machine without a GPU
            torch.set_autocast_enabled("cuda", True)
            torch.set_autocast_dtype("cuda", autocast)
            torch.autocast_increment_nesting()
        try:
            yield
        finally:
            if autocast is not None:
                torch.autocast_decrement_nesting()
                torch.clear_autocast_cache()
                torch.set_autocast_enabled("cuda", before[0])
                torch.set_autocast_dtype("cuda", before[1])


class SavedTensors:
    """The tensors that a forward keeps for the backward pass, each storage once, without parameters; a context."""

    def __init__(self):
        self._storages = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def __enter__(self):
        self._hooks.__enter__()
        return self

    def __exit__(self, *error):
        self._hooks.__exit__(*error)

    def bytes(self, *dtypes: torch.dtype) -> int:
        """Return the bytes that are kept, of all types or of some."""
        return sum(size for size, dtype, _ in self._storages.values() if not dtypes or dtype in dtypes)

    def _pack(self, tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            self._storages[storage._cdata] = storage.nbytes(), tensor.dtype, storage
        return tensor
