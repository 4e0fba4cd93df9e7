"""The rows in doubt, settled in float64 over all codes by a fixed number of programs, most of which leave at once."""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from .exactly import distances, nearest_of
from .parts import Parts

ROWS, CODES = 8, 128
MAX_PROGRAMS = 1024


@triton.jit
@no_type_check
def _scan(vectors, codes, row, start, stop, d, is_dot, rows_block: tl.constexpr, codes_block: tl.constexpr):
    """Return for some rows the min distance to the codes from start to stop, and the lowest code that has it."""
    least = tl.full((rows_block, codes_block), float("inf"), tl.float64)
    nearest = tl.zeros((rows_block, codes_block), tl.int32) + 0x7FFFFFFF
    column = tl.arange(0, codes_block)[None, :]
    for first in range(start, stop, codes_block):
        code = tl.minimum(first + column, stop - 1)
        distance = distances(vectors, codes, row[:, None], code, d, is_dot)
        nearest = tl.where(distance < least, code, nearest)
        least = tl.where(distance < least, distance, least)
    return nearest_of(least, nearest)


@triton.jit
@no_type_check
def _write(vectors, indices, row, is_row, nearest, d, rows_block: tl.constexpr):
    """Write the codes of some rows; one that is not finite gets code 0, as does one for which no code is."""
    is_finite = tl.zeros((rows_block,), tl.int32) == 0
    for channel in range(d):
        value = tl.load(vectors + row.to(tl.int64) * d + channel)
        is_finite = is_finite & (tl.abs(value) < float("inf"))
    index = tl.where(is_finite & (nearest < 0x7FFFFFFF), nearest, 0)
    tl.store(indices + row, index.to(tl.int64), mask=is_row)


@triton.jit
@no_type_check
def _settle(
    vectors,
    codes,
    doubtful,
    counters,
    distances_found,
    codes_found,
    indices,
    k,
    d,
    programs: tl.constexpr,
    is_dot: tl.constexpr,
    rows_block: tl.constexpr,
    codes_block: tl.constexpr,
):
    """Take blocks of rows in doubt; where these are fewer than the programs, several share the codes of a block.

    The last of them to finish, by a ticket drawn after its own result is written, compares their results.
    """
    program = tl.program_id(0)
    count = tl.load(counters)
    blocks = tl.cdiv(count, rows_block)
    lane = tl.arange(0, rows_block)
    if blocks >= programs:
        for block in range(program, blocks, programs):
            place = block * rows_block + lane
            is_row = place < count
            row = tl.load(doubtful + tl.minimum(place, count - 1))
            _, nearest = _scan(vectors, codes, row, 0, k, d, is_dot, rows_block, codes_block)
            _write(vectors, indices, row, is_row, nearest, d, rows_block)
    elif blocks > 0:
        shares = tl.minimum(programs // blocks, tl.cdiv(k, codes_block))
        block = program // shares
        if block < blocks:
            place = block * rows_block + lane
            is_row = place < count
            row = tl.load(doubtful + tl.minimum(place, count - 1))
            size = tl.cdiv(k, shares)
            start = (program % shares) * size
            least, nearest = _scan(
                vectors, codes, row, start, tl.minimum(start + size, k), d, is_dot, rows_block, codes_block
            )
            tl.store(distances_found + program * rows_block + lane, least)
            tl.store(codes_found + program * rows_block + lane, nearest)
            tl.debug_barrier()  # all threads have written before one draws the ticket, which releases what they wrote
            if tl.atomic_add(counters + 1 + block, 1) == shares - 1:
                for share in range(shares):
                    at = (block * shares + share) * rows_block + lane
                    # Past the cache of this processor, which may hold what was there before.
                    other = tl.load(distances_found + at, cache_modifier=".cg")
                    code = tl.load(codes_found + at, cache_modifier=".cg")
                    is_nearer = (other < least) | ((other == least) & (code < nearest))
                    least = tl.where(is_nearer, other, least)
                    nearest = tl.where(is_nearer, code, nearest)
                _write(vectors, indices, row, is_row, nearest, d, rows_block)


def settle(
    vectors: Tensor, codes: Tensor, parts: Parts, doubtful: Tensor, is_dot: bool, indices: Tensor, programs: int
) -> None:
    """Write the codes of the rows in doubt; how many there are is known to the device alone."""
    programs = min(programs, MAX_PROGRAMS)
    space = torch.empty(programs, ROWS, device=vectors.device, dtype=torch.float64)
    _settle[(programs,)](
        *(vectors, codes, doubtful, parts.counters, space, torch.empty_like(space, dtype=torch.int32), indices),
        *(len(codes), vectors.shape[1]),
        programs=programs,
        is_dot=is_dot,
        rows_block=ROWS,
        codes_block=CODES,
    )
