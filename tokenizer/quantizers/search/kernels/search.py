"""The search on a CUDA device from beginning to end."""

from functools import cache

import torch
import triton
from torch import Tensor

from .blocks import Blocks, blocks_for, split_of, width_of
from .choice import choose
from .groups import best_groups
from .parts import prepare
from .settling import settle

WAVES = 4
"""Programs for each multiprocessor, where there is work for them."""


def nearest_by_kernels(
    vectors: Tensor, codes: Tensor, is_dot: bool, exact: bool, excluded: Tensor | None, blocks: Blocks | None = None
) -> Tensor:
    """Return for each vector the index of its nearest code, ` n`, without waiting for the device.

    Five launches: the codes' mean (not for dot products), `prepare`, `best_groups`, `choose`, `settle` (with `exact`). `blocks`
    are those of the table where none are given. Memory is that of the parts, 6 bytes a channel, and some numbers a vector.
    """
    n, k = len(vectors), len(codes)
    indices = torch.empty(n, device=vectors.device, dtype=torch.int64)
    if n == 0:
        return indices
    vectors, codes = vectors.contiguous(), codes.contiguous()
    processors, major = _card(vectors.device)
    programs = WAVES * processors
    width = width_of(codes.shape[1])
    blocks = blocks or blocks_for(width, major)
    rows, columns = -(-n // blocks.vectors), -(-k // blocks.codes)
    with torch.cuda.device_of(vectors):
        parts = prepare(vectors, codes, is_dot, width, rows * blocks.vectors, columns * blocks.codes)
        if excluded is not None:
            parts.offsets[:k].masked_fill_(excluded, -torch.inf)
        split = split_of(rows, len(parts.codes), blocks.codes, programs)
        found = best_groups(parts, n, split, blocks)
        doubtful = choose(vectors, codes, parts, found, is_dot, exact, indices)
        if exact:
            settle(vectors, codes, parts, doubtful, is_dot, indices, programs)
    return indices


def start_triton() -> None:
    """Let triton build what starts kernels; raise one of many errors where there is no C compiler, as in slim containers."""
    triton.runtime.driver.active.get_current_device()


@cache
def _card(device: torch.device) -> tuple[int, int]:
    """Return the number of multiprocessors and the compute capability, without its minor part."""
    if device.type != "cuda":
        return 2, 9  # the interpreter
    properties = torch.cuda.get_device_properties(device)
    return properties.multi_processor_count, properties.major
