"""Make the tensors that a pickle describes, from their values in the file, with every argument checked."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .mapped_file import DamagedFileError, UnreadKindError, strided
from .pickle_machine import Made, Name

STORAGES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "Untyped": torch.uint8,
}
COMPLEX_STORAGES = ("ComplexFloat", "ComplexDouble")
MODULES = ("torch", "torch.cuda", "torch.storage")
DTYPES = {
    str(dtype): dtype
    for dtype in (*STORAGES.values(), torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64)
}
REBUILT = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3")
"""Their arguments are storage, offset, size, stride and so on."""
WITH_DTYPE, DTYPE = "torch._utils._rebuild_tensor_v3", 6
PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
"""Their first argument is a tensor."""
SUBCLASSES = "torch._tensor._rebuild_from_type_v2"
"""Its arguments are a function, a class, the arguments of the function, and attributes."""

UNREAD = {
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_nested_tensor": "nested",
    "torch._utils._rebuild_qtensor": "quantized",
    "torch._utils._rebuild_meta_tensor_no_storage": "without values (meta)",
    "torch._utils._rebuild_wrapper_subclass": "a wrapper of other tensors",
    "torch._utils._rebuild_device_tensor_from_numpy": "of another device",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "of another device",
}
"""Functions that make tensors of kinds that no tokenizer has."""
TENSORS = (*REBUILT, *PARAMETERS, SUBCLASSES, *UNREAD)


class Storage(NamedTuple):
    """Values that tensors of a file share."""

    key: str
    dtype: torch.dtype
    length: int
    """How many values."""


def storage_of(value: Any) -> Storage | None:
    """Return the storage that a pickle refers to, or None when it is nothing of that kind."""
    if not (isinstance(value, Made) and value.name == "persistent" and isinstance(value.arguments[0], tuple)):
        return None
    kind, name, key, _, count, *view = (*value.arguments[0], *5 * [None])[:6]
    module, _, class_name = str(name).rpartition(".")
    dtype = STORAGES.get(class_name.removesuffix("Storage"))
    if kind != "storage" or not isinstance(name, Name) or module not in MODULES or dtype is None or view != [None]:
        return None
    if not isinstance(key, str) or type(count) is not int or count < 0:
        return None
    return Storage(key, dtype, count)


def is_tensor(value: Any) -> bool:
    """Return whether a pickle describes a tensor, or a parameter."""
    return isinstance(value, Tensor) or (isinstance(value, Made) and value.name in TENSORS)


def tensor_of(value: Any, values: Callable[[Storage], Tensor]) -> Tensor:
    """Return the tensor that a pickle describes; `values` gives those of a storage.

    Raises DamagedFileError, or UnreadKindError for a kind of tensor that no tokenizer has.
    """
    if isinstance(value, Tensor):
        if kind := _unread_kind(value):
            raise UnreadKindError(kind)
        return value.detach()
    for _ in range(3):  # a parameter of a subclass of a tensor, at most
        if isinstance(value, Made) and value.name in PARAMETERS:
            value = next(iter(value.arguments), None)
        elif isinstance(value, Made) and value.name == SUBCLASSES and len(value.arguments) > 2:
            value = Made(value.arguments[0], value.arguments[2])
    if isinstance(value, Made) and value.name in UNREAD:
        raise UnreadKindError(UNREAD[value.name])
    if not isinstance(value, Made) or value.name not in REBUILT or len(value.arguments) < 4:
        raise DamagedFileError("a tensor is made in a way that torch does not write")
    stored, offset, shape, stride, *_ = value.arguments
    if _is_complex(stored):
        raise UnreadKindError("complex")
    storage = storage_of(stored)
    if storage is None or not isinstance(shape, tuple) or not isinstance(stride, tuple):
        raise DamagedFileError("a tensor has no values")
    flat = values(storage)
    if value.name == WITH_DTYPE:
        flat = _viewed(flat, DTYPES.get(str((*value.arguments, *7 * [None])[DTYPE])))
    return strided(flat, offset, shape, stride)


def _viewed(flat: Tensor, dtype: torch.dtype | None) -> Tensor:
    if dtype is None or flat.dtype.itemsize * len(flat) % dtype.itemsize:
        raise DamagedFileError("a tensor has a type that is not known")
    return flat.view(dtype)


def _is_complex(stored: Any) -> bool:
    if not (isinstance(stored, Made) and stored.name == "persistent" and isinstance(stored.arguments[0], tuple)):
        return False
    return str(stored.arguments[0][1:2]).endswith(tuple(f"{kind}Storage',)" for kind in COMPLEX_STORAGES))


def _unread_kind(tensor: Tensor) -> str:
    """Return of which kind a tensor is that no tokenizer has, or ""."""
    kinds = {
        "quantized": tensor.is_quantized,
        "without values (meta)": tensor.is_meta,
        "nested": tensor.is_nested,
        "complex": tensor.is_complex(),
    }
    kinds["sparse"] = tensor.layout != torch.strided and not tensor.is_nested
    return next((kind for kind, is_so in kinds.items() if is_so), "")
