"""Nearest-code search on a CUDA device: one kernel that writes no score to memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_VECTORS = 64
BLOCK_CODES = 64
BLOCK_CHANNELS = 64
MAX_HELD_CHANNELS = 128
"""Channels up to which a program keeps its vectors in registers."""
MIN_SPLIT = 1024
"""Min number of codes per program, where vectors are few and the codes are split."""


@triton.jit  # type: ignore[untyped-decorator]
def _two_best(  # type: ignore[no-untyped-def]
    vectors,
    codes,
    offsets,
    bests,
    indices,
    seconds,
    n,
    k,
    d,
    split,
    block_vectors: tl.constexpr,
    block_codes: tl.constexpr,
    block_channels: tl.constexpr,
    held: tl.constexpr,
):
    """For a block of vectors, walk over a split of the codes and keep the best and the second best z.c + offset."""
    rows = tl.program_id(0).to(tl.int64) * block_vectors + tl.arange(0, block_vectors)
    channels = tl.arange(0, block_channels)
    z_rows, is_row = vectors + rows[:, None] * d, rows[:, None] < n
    if held:
        z = tl.load(z_rows + channels[None, :], mask=is_row & (channels[None, :] < d), other=0.0)
    best = tl.full((block_vectors,), float("-inf"), tl.float32)
    second = tl.full((block_vectors,), float("-inf"), tl.float32)
    index = tl.zeros((block_vectors,), tl.int64)
    start = tl.program_id(1) * split
    for first in range(start, min(start + split, k), block_codes):
        columns = (first + tl.arange(0, block_codes)).to(tl.int64)
        c_columns, is_code = codes + columns[None, :] * d, columns[None, :] < k
        # Full float32: the tensor cores' tf32 keeps three digits, and would change tokens.
        if held:
            c = tl.load(c_columns + channels[:, None], mask=is_code & (channels[:, None] < d), other=0.0)
            products = tl.dot(z, c, input_precision="ieee")
        else:
            products = tl.zeros((block_vectors, block_codes), tl.float32)
            for channel in range(0, d, block_channels):
                inner = channel + channels
                part = tl.load(z_rows + inner[None, :], mask=is_row & (inner[None, :] < d), other=0.0)
                c = tl.load(c_columns + inner[:, None], mask=is_code & (inner[:, None] < d), other=0.0)
                products = tl.dot(part, c, products, input_precision="ieee")
        products += tl.load(offsets + columns, mask=columns < k, other=float("-inf"))[None, :]
        top, column = tl.max(products, axis=1, return_indices=True, return_indices_tie_break_left=True)
        others = tl.where(tl.arange(0, block_codes)[None, :] == column[:, None], float("-inf"), products)
        second = tl.maximum(tl.maximum(second, tl.minimum(best, top)), tl.max(others, axis=1))
        index = tl.where(top > best, first + column.to(tl.int64), index)
        best = tl.maximum(best, top)
    out = tl.program_id(1).to(tl.int64) * n + rows
    tl.store(bests + out, best, mask=rows < n)
    tl.store(indices + out, index, mask=rows < n)
    tl.store(seconds + out, second, mask=rows < n)


def two_best(vectors: Tensor, codes: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each vector the maximum of z.c + offset over the codes, the lowest index that has it, and the runner-up.

    float32 throughout, in an order that depends on the sizes alone. Where vectors are few, several programs split the
    codes between them.
    """
    n, (k, d) = len(vectors), codes.shape
    vectors, codes, offsets = vectors.contiguous(), codes.contiguous(), offsets.contiguous()
    blocks = triton.cdiv(n, BLOCK_VECTORS)
    processors = torch.cuda.get_device_properties(vectors.device).multi_processor_count if vectors.is_cuda else 1
    splits = max(1, min(4 * processors // max(1, blocks), triton.cdiv(k, MIN_SPLIT)))
    split = triton.cdiv(triton.cdiv(k, splits), BLOCK_CODES) * BLOCK_CODES
    splits = triton.cdiv(k, split)
    bests = torch.empty(splits, n, device=vectors.device, dtype=torch.float32)
    indices, seconds = torch.empty_like(bests, dtype=torch.int64), torch.empty_like(bests)
    held = d <= MAX_HELD_CHANNELS
    if n:
        with torch.cuda.device_of(vectors):
            _two_best[(blocks, splits)](
                *(vectors, codes, offsets, bests, indices, seconds, n, k, d, split),
                block_vectors=BLOCK_VECTORS,
                block_codes=BLOCK_CODES,
                block_channels=max(16, triton.next_power_of_2(d)) if held else BLOCK_CHANNELS,
                held=held,
                num_warps=4,
            )
    best, where = bests.max(dim=0)
    where = where.unsqueeze(0)
    second = seconds.amax(dim=0).maximum(bests.scatter(0, where, -torch.inf).amax(dim=0))
    return best, indices.gather(0, where).squeeze(0), second
