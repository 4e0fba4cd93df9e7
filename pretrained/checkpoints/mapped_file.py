"""A file whose tensors are mapped into memory: they take none until they are used, and give it back."""

import math
import mmap
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor


class DamagedFileError(Exception):
    """A file holds less than it says, or other things than it must."""


class UnreadKindError(Exception):
    """A tensor is sound, but of a kind that no tokenizer has, which the message names: "sparse" and the like."""


class MappedFile:
    """Tensors in a file, as views of its bytes. Changing one in place changes neither the file nor others' views of it."""

    def __init__(self, path: Path):
        self.size = path.stat().st_size
        if not self.size:
            raise DamagedFileError("it is empty")
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._views: list[Tensor] = []

    def values(self, start: int, count: int, dtype: torch.dtype) -> Tensor:
        """Return `count` values from the byte `start` on, in one dimension; raise DamagedFileError beyond the end."""
        if start < 0 or count < 0 or start + count * dtype.itemsize > self.size:
            raise DamagedFileError(f"it is cut short: it has {self.size} bytes, and a tensor is beyond them")
        if not count:
            return torch.empty(0, dtype=dtype)
        self._views.append(torch.frombuffer(self._map, dtype=dtype, count=count, offset=start))
        return self._views[-1]

    def content(self, start: int, count: int) -> bytes:
        """Return bytes; fewer beyond the end."""
        return self._map[start : start + count]

    def release(self) -> None:
        """Give back the memory of what was used; it is read again when it is used again."""
        # Changes in place would be lost.
        if hasattr(mmap, "MADV_DONTNEED") and not any(view._version for view in self._views):
            self._map.madvise(mmap.MADV_DONTNEED)


def strided(values: Tensor, offset: int, shape: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Return a view of values in one dimension; raise DamagedFileError unless all of it lies within them."""
    numbers = [offset, *shape, *stride]
    if len(shape) != len(stride) or not all(type(number) is int and number >= 0 for number in numbers):
        raise DamagedFileError("a tensor has no proper shape")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if math.prod(shape) and last >= len(values):
        raise DamagedFileError(f"a tensor of shape {tuple(shape)} is beyond its {len(values)} values"[:200])
    try:
        return values.as_strided(tuple(shape), tuple(stride), offset) if math.prod(shape) else values.new_empty(shape)
    except (RuntimeError, OverflowError, TypeError):  # numbers beyond an int64
        raise DamagedFileError("a tensor has no proper shape") from None
