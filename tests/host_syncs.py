"""Counts what would make the host wait for a GPU, on a machine that has none.

On a CPU every operator returns when it is done, so a test cannot see a wait. It can see the operators that cause one: those
whose result is a Python number or has a size that depends on the values, and copies between devices that block. `tolist` and
`numpy` read the memory of a CPU without an operator, and are not seen. Where there is a GPU, the same work runs under
`torch.cuda.set_sync_debug_mode("error")`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = (
    *("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "argwhere", "masked_select"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"),
    *("repeat_interleave.Tensor", "bincount"),
)
"""Operators whose result the host needs: a number, or a size that depends on the values."""
INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
COPIES = ("_to_copy", "copy_", "_copy_from")


class HostSyncs(TorchDispatchMode):
    """Counts by operator, in `found`, the calls inside the block that would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.split("::")[1]
        if name in WAITING or f"{name}.{func._schema.overload_name}" in WAITING:
            self.found[name] += 1
        elif name in INDEXED and any(_is_mask(index) for index in args[1] if index is not None):
            self.found[f"{name} with a mask"] += 1
        elif name in COPIES and _blocks(name, args, kwargs):
            self.found[f"{name} between devices"] += 1
        return func(*args, **kwargs)


def _is_mask(index: Tensor) -> bool:
    return index.dtype in (torch.bool, torch.uint8)


def _blocks(name: str, args: Any, kwargs: Any) -> bool:
    """Return whether a copy goes from one device to another and waits."""
    if name == "_to_copy":
        source, target = args[0].device, kwargs.get("device") or args[0].device
        is_asynchronous = kwargs.get("non_blocking", False)
    else:
        target, source = args[0].device, args[1].device
        is_asynchronous = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
    return torch.device(target).type != source.type and not is_asynchronous


@contextmanager
def no_host_syncs() -> Iterator[None]:
    """Fail where the block would make the host wait; on a GPU torch itself raises."""
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return
    with HostSyncs() as syncs:
        yield
    assert not syncs.found, f"this would wait for a GPU: {dict(syncs.found)}"
