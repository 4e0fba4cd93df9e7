"""Counts what would make the host wait for a GPU, on a machine that has none.

On a CPU every operator returns when it is done, so a test cannot see a wait. It can see the operators that cause one: those
whose result is a Python number or has a size that depends on the values, tensors made of Python values, and copies between
devices that block. It also sees the methods that read the memory of a CPU without an operator, such as `tolist`. Where there is
a GPU, the same work runs under `torch.cuda.set_sync_debug_mode("error")`.
"""

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).resolve().parents[1]
VALUE, SIZE = "a value is read", "the size of the result depends on values"
READS = {
    **dict.fromkeys(
        ("_local_scalar_dense", "item", "is_nonzero", "equal", "_linalg_check_errors", "linalg_lstsq"), VALUE
    ),
    **dict.fromkeys(("nonzero", "argwhere", "masked_select", "repeat_interleave.Tensor", "bincount"), SIZE),
    **dict.fromkeys(("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"), SIZE),
    "lift_fresh": "a tensor is made on the host and would be copied",
}
METHODS = ("tolist", "numpy", "__array__", "cpu")
INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
COPIES = ("_to_copy", "copy_", "_copy_from")
HOST = {
    "tokenizer/quantizers/composed/residual.py": "the number of levels that are kept is drawn on the host",
    "tokenizer/quantizers/vector/projections.py": "on CUDA the codes of a basis are solved for without a check",
}
"""Files that read values of the host's own, and why."""


class HostSyncs:
    """Collects in `found` the calls inside the block that would wait for a GPU, with the line of the package that made each."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> "HostSyncs":
        self._stack.enter_context(_Methods(self._note))
        self._stack.enter_context(_Operators(self._note))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _note(self, name: str, reason: str) -> None:
        if (caller := _caller()).partition(":")[0] not in HOST:
            self.found.append(f"{name} at {caller}: {reason}")


class _Methods(TorchFunctionMode):
    """Tells `note` of methods that read values, which a CPU does without an operator."""

    def __init__(self, note: Callable[[str, str], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (name := getattr(function, "__name__", "")) in METHODS:
            self._note(name, "values are read")
        return function(*args, **(kwargs or {}))


class _Operators(TorchDispatchMode):
    """Tells `note` of operators that read values, or copy them and block."""

    def __init__(self, note: Callable[[str, str], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = function._schema.name.split("::")[1]
        reason = READS.get(name) or READS.get(f"{name}.{function._schema.overload_name}")
        if name in INDEXED and any(_is_mask(index) for index in args[1] if index is not None):
            reason = "booleans index"
        elif name in COPIES and _blocks(name, args, kwargs):
            reason = "it blocks between devices"
        if reason:
            self._note(name, reason)
        return function(*args, **kwargs)


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


def _caller() -> str:
    """Return file and line of the package's innermost frame."""
    frames = [frame for frame in traceback.extract_stack() if os.path.isabs(frame.filename)]  # not <frozen ...>
    files = [(Path(frame.filename).resolve(), frame.lineno) for frame in frames]
    inside = [(file.relative_to(ROOT), line) for file, line in files if file.is_relative_to(ROOT)]
    inside = [f"{file.as_posix()}:{line}" for file, line in inside if file.parts[0] != "tests"]
    return inside[-1] if inside else "elsewhere"


@contextmanager
def no_host_syncs() -> Iterator[None]:
    """Fail where the block would make the host wait; on a GPU torch itself raises."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return
    with HostSyncs() as syncs:
        yield
    assert not syncs.found, f"this would wait for a GPU: {', '.join(syncs.found)}"
