"""Vectors and codes in bfloat16 parts, centred, with their lengths and offsets: one kernel for both."""

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, CHANNELS = 32, 32
MAX_PROGRAMS = 1024
"""Most programs that share the codes, each of which leaves the max length of its own."""
COUNTERS = 2048
"""Counters that the kernels after this one find at 0."""


class Parts(NamedTuple):
    """What the search takes of vectors and codes; rows are padded to whole blocks."""

    vectors: Tensor
    """`n w` bfloat16: low, high, high, zeros."""
    codes: Tensor
    """`k w` bfloat16: high, low, high, zeros."""
    offsets: Tensor
    """` k`: what is added to the product with each code; -inf for those of the padding."""
    lengths: Tensor
    """` n + k`, without padding: no less than those of the centred vectors, then of the codes."""
    longest: Tensor
    """` p`: max lengths of parts of the codes."""
    counters: Tensor


@triton.jit
@no_type_check
def _write_parts(source, centre, parts, rows, count, padded, d, width, low, rows_block, channels_block, is_centred):
    """Write the parts of some rows, and return their squared lengths; `low` is the column where the low part begins."""
    is_row = rows < count
    is_written = (rows < padded)[:, None]
    source_rows = source + rows.to(tl.int64)[:, None] * d
    parts_rows = parts + rows.to(tl.int64)[:, None] * width
    squares = tl.zeros((rows_block,), tl.float32)
    for first in range(0, d, channels_block):
        channels = first + tl.arange(0, channels_block)[None, :]
        is_channel = channels < d
        values = tl.load(source_rows + channels, mask=is_row[:, None] & is_channel, other=0.0)
        if is_centred:
            middle = tl.load(centre + channels, mask=is_channel, other=0.0)
            values = tl.where(is_row[:, None], values - middle, 0.0)
        high = values.to(tl.bfloat16)
        rest = (values - high.to(tl.float32)).to(tl.bfloat16)
        mask = is_written & is_channel
        tl.store(parts_rows + low + channels, rest, mask=mask)
        tl.store(parts_rows + d - low + channels, high, mask=mask)
        tl.store(parts_rows + 2 * d + channels, high, mask=mask)
        squares += tl.sum(values * values, axis=1)
    for first in range(3 * d, width, channels_block):
        channels = first + tl.arange(0, channels_block)[None, :]
        nothing = tl.zeros((rows_block, channels_block), tl.bfloat16)
        tl.store(parts_rows + channels, nothing, mask=is_written & (channels < width))
    return squares


@triton.jit
@no_type_check
def _prepare(
    vectors,
    codes,
    centre,
    vector_parts,
    code_parts,
    offsets,
    lengths,
    longest,
    counters,
    n,
    k,
    d,
    n_padded,
    k_padded,
    width,
    programs,
    smallest,
    is_dot: tl.constexpr,
    rows_block: tl.constexpr,
    channels_block: tl.constexpr,
    counters_count: tl.constexpr,
):
    """Prepare a share of the codes, or a block of vectors."""
    program = tl.program_id(0)
    if program == 0:
        tl.store(counters + tl.arange(0, counters_count), tl.zeros((counters_count,), tl.int32))
    if program < programs:
        top = tl.zeros((rows_block,), tl.float32)
        for first in range(program * rows_block, k_padded, programs * rows_block):
            rows = first + tl.arange(0, rows_block)
            is_row = rows < k
            squares = _write_parts(
                *(codes, centre, code_parts, rows, k, k_padded, d, width, d),
                *(rows_block, channels_block, not is_dot),
            )
            offset = tl.zeros((rows_block,), tl.float32) if is_dot else squares * -0.5
            tl.store(offsets + rows, tl.where(is_row, offset, float("-inf")), mask=rows < k_padded)
            # A square below the smallest normal number may have become 0.
            length = tl.sqrt(squares + smallest)
            tl.store(lengths + n + rows, length, mask=is_row)
            # A NaN must stay one, so that no row is certain.
            top = tl.where(is_row & ~(length <= top), length, top)
        tl.store(longest + program, tl.where(tl.sum((top != top).to(tl.int32)) > 0, float("nan"), tl.max(top)))
    else:
        rows = (program - programs) * rows_block + tl.arange(0, rows_block)
        squares = _write_parts(
            *(vectors, centre, vector_parts, rows, n, n_padded, d, width, 0),
            *(rows_block, channels_block, not is_dot),
        )
        tl.store(lengths + rows, tl.sqrt(squares + smallest), mask=rows < n)


def prepare(vectors: Tensor, codes: Tensor, is_dot: bool, width: int, n_padded: int, k_padded: int) -> Parts:
    """Return vectors `n d` and codes `k d`, float32 and contiguous, in parts of `width` columns."""
    (n, d), k = vectors.shape, len(codes)
    programs = min(MAX_PROGRAMS, triton.cdiv(k_padded, ROWS))
    # Any point would do: the nearer to the codes, the fewer rows are in doubt.
    centre = codes if is_dot else codes.mean(dim=0)
    device = vectors.device
    parts = Parts(
        torch.empty(n_padded, width, device=device, dtype=torch.bfloat16),
        torch.empty(k_padded, width, device=device, dtype=torch.bfloat16),
        torch.empty(k_padded, device=device),
        torch.empty(n + k, device=device),
        torch.empty(programs, device=device),
        torch.empty(COUNTERS, device=device, dtype=torch.int32),
    )
    _prepare[(programs + triton.cdiv(n_padded, ROWS),)](
        *(vectors, codes, centre, *parts, n, k, d, n_padded, k_padded, width, programs, d * 2.0**-126),
        is_dot=is_dot,
        rows_block=ROWS,
        channels_block=CHANNELS,
        counters_count=COUNTERS,
    )
    return parts
