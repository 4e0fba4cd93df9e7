"""Counts what would make a host wait for its GPU, on any machine, by the operations that a body calls."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode

READS = {
    "aten::_local_scalar_dense": "a value is read",
    "aten::nonzero": "the size of the result depends on values",
    "aten::masked_select": "the size of the result depends on values",
    "aten::equal": "a value is read",
    "aten::_unique2": "the size of the result depends on values",
    "aten::unique_dim": "the size of the result depends on values",
    "aten::unique_consecutive": "the size of the result depends on values",
    "aten::unique_dim_consecutive": "the size of the result depends on values",
    "aten::repeat_interleave.Tensor": "the size of the result depends on values",
    "aten::bincount": "the size of the result depends on values",
    "aten::_linalg_check_errors": "a value is read",
    "aten::linalg_lstsq": "a value is read",
    "aten::lift_fresh": "a tensor is made on the host and would be copied",
}


HOST = {
    "tokenizer/quantizers/composed/residual.py": "the number of levels that are kept is drawn on the host",
    "tokenizer/quantizers/vector/projections.py": "on CUDA the codes of a basis are solved for without a check",
}
"""Files that read values of the host's own, and why."""


@contextmanager
def no_waiting() -> Iterator[list[str]]:
    """Raise RuntimeError where the body waits for a GPU; on a machine without one, collect in a list what would wait."""
    if not torch.cuda.is_available():
        with HostSyncs() as syncs:
            yield syncs.found
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield []
    finally:
        torch.cuda.set_sync_debug_mode("default")


class HostSyncs(TorchDispatchMode):
    """A context that collects the operations that wait, with the line of the package that called each.

    Copies between devices cannot be told on a machine with one device: instead, tensors that are made of Python values count,
    as they would be copied. Indexing with booleans counts; files in HOST do not.
    """

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function._schema.name
        overload = f"{name}.{function._schema.overload_name}"
        reason = READS.get(name) or READS.get(overload)
        if name in ("aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"):
            masks = [index for index in arguments[1] if index is not None and index.dtype in (torch.bool, torch.uint8)]
            reason = "booleans index" if masks else None
        if reason and (caller := _caller()).partition(":")[0] not in HOST:
            self.found.append(f"{overload} at {caller}: {reason}")
        return function(*arguments, **(keywords or {}))


def _caller() -> str:
    frames = [
        frame for frame in traceback.extract_stack() if "/vistok/" in frame.filename and "/tests/" not in frame.filename
    ]
    return f"{frames[-1].filename.partition('/vistok/')[2]}:{frames[-1].lineno}" if frames else "elsewhere"
