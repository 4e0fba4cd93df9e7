"""model.safetensors of a tokenizer folder, checked against its config before anything is allocated."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..files import check_no_pointer, write_whole
from .config_json import AGAIN

FLOATS = {"F64", "F32", "F16", "BF16"}
INTEGERS = {"I64", "I32", "I16", "I8", "U8", "U16", "U32", "U64"}

WRITTEN = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Types in the order in which the safetensors library writes them, with its names."""
LENGTH = 8
"""Bytes of the length of the header, whose own length is a multiple of it."""


def write_weights(
    path: Path,
    weights: Mapping[str, Tensor],
    dtypes: Mapping[str, torch.dtype],
    metadata: Mapping[str, str],
    before_each: Callable[[str, Tensor], None] | None = None,
) -> None:
    """Write tensors to a .safetensors file, one after the other, so that no second copy of all is in memory.

    The library would write the same bytes. `before_each` is called with the name of a tensor and the tensor as it is written.
    """
    order = list(WRITTEN)
    names = sorted(weights, key=lambda name: (order.index(dtypes[name]), name))

    def parts() -> Iterator[bytes | memoryview]:
        yield _header(names, weights, dtypes, metadata)
        for name in names:
            tensor = weights[name].detach().to("cpu", dtypes[name]).contiguous()
            if before_each:
                before_each(name, tensor)
            yield tensor.reshape(-1).view(torch.uint8).numpy().data

    write_whole(path, parts())


def _header(
    names: list[str], weights: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype], metadata: Mapping[str, str]
) -> bytes:
    fields: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        start, end = end, end + weights[name].numel() * dtypes[name].itemsize
        fields[name] = {
            "dtype": WRITTEN[dtypes[name]],
            "shape": list(weights[name].shape),
            "data_offsets": [start, end],
        }
    content = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    content += b" " * (-len(content) % LENGTH)
    return len(content).to_bytes(LENGTH, "little") + content


def check_weight_file(path: Path, expected: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless the file has the names, shapes and kinds of types of `expected`, whose tensors may be on meta."""
    if not path.is_file():
        raise ValueError(f"{path.parent} is not a tokenizer folder: it has no {path.name}.")
    try:
        check_no_pointer(path)
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            slices = {name: file.get_slice(name) for name in names}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            kinds = {name: str(part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}): {AGAIN}") from None
    for name in [*expected, *names]:
        if name not in shapes or name not in expected:
            where = "the file" if name not in shapes else "the config"
            raise ValueError(f"{path} does not fit its config: {name} is missing from {where}.")
        if shapes[name] != tuple(expected[name].shape):
            raise ValueError(
                f"{path} does not fit its config: {name} is {shapes[name]}, not {tuple(expected[name].shape)}."
            )
        allowed = FLOATS if expected[name].is_floating_point() else INTEGERS
        if kinds[name] not in allowed:
            raise ValueError(f"{path} has {name} as {kinds[name]}, but it must be one of {', '.join(sorted(allowed))}.")


def check_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError when a weight is NaN or infinite."""
    for name, value in weights.items():
        if not is_finite(value):
            raise ValueError(f"{path} has values in {name} that are NaN or infinite: {AGAIN}")


def is_finite(value: Tensor) -> bool:
    """Return whether no value is NaN or infinite."""
    return not value.is_floating_point() or not value.numel() or all(map(torch.isfinite, torch.aminmax(value)))
