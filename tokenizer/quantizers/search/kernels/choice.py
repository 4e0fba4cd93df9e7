"""The code of each vector, from the best group, and whether it is certain."""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from .blocks import GROUP
from .exactly import distances, nearest_of
from .groups import Found
from .parts import MAX_PROGRAMS, Parts
from .rounding import factors

ROWS = 32


@triton.jit  # type: ignore[untyped-decorator]
@no_type_check
def _choose(
    vectors,
    codes,
    bests,
    seconds,
    groups,
    offsets,
    lengths,
    longest,
    counters,
    indices,
    doubtful,
    n,
    k,
    d,
    splits,
    programs,
    product_factor,
    score_factor,
    absolute_factor,
    is_dot: tl.constexpr,
    exact: tl.constexpr,
    group: tl.constexpr,
    rows_block: tl.constexpr,
    max_programs: tl.constexpr,
):
    """Choose in float64 among the codes of the best group; list the rows in which another group might have the nearest.

    The true nearest code c is no longer than 2 |z| + |e| for any other code e, since |c| <= |z| + |z - c| <= |z| + |z - e|.
    If best - second > 2 bound, with the bound for codes of that length and those of the group, c is in the group.
    """
    row = tl.program_id(0) * rows_block + tl.arange(0, rows_block)
    is_row = row < n
    row = tl.minimum(row, n - 1)
    best = tl.load(bests + row)
    second = tl.load(seconds + row)
    chosen = tl.load(groups + row)
    for share in range(1, splits):
        place = share * n + row
        other = tl.load(bests + place)
        second = tl.maximum(tl.maximum(second, tl.load(seconds + place)), tl.minimum(best, other))
        chosen = tl.where(other > best, tl.load(groups + place), chosen)
        best = tl.maximum(best, other)
    code = chosen[:, None] * group + tl.arange(0, group)[None, :]
    # An excluded code has an offset of -inf, one that is not a number a NaN.
    is_code = (code < k) & (tl.load(offsets + code) > float("-inf"))
    code = tl.minimum(code, k - 1)
    distance = tl.where(is_code, distances(vectors, codes, row[:, None], code, d, is_dot), float("inf"))
    _, index = nearest_of(distance, code)
    index = tl.minimum(index, k - 1)  # where all are NaN
    tl.store(indices + row, index.to(tl.int64), mask=is_row)
    if exact:
        size = tl.load(lengths + row)
        part = tl.arange(0, max_programs)
        # A NaN among the lengths makes every row doubtful.
        tops = tl.load(longest + part, mask=part < programs, other=0.0)
        top = tl.where(tl.sum((tops != tops).to(tl.int32)) > 0, float("nan"), tl.max(tops))
        if is_dot:
            reach = tl.zeros((rows_block,), tl.float32) + top
            scale = size * reach
        else:
            inside = 2 * size + tl.max(tl.load(lengths + n + code), axis=1)
            reach = tl.where(inside < top, inside, top)
            scale = reach * (size + reach)
        bound = product_factor * (size * reach) + score_factor * scale + absolute_factor * (1 + size + reach)
        in_doubt = is_row & ~(best - second > 2 * bound)
        found = in_doubt.to(tl.int32)
        total = tl.sum(found)
        if total > 0:
            place = tl.atomic_add(counters, total) + tl.cumsum(found) - found
            tl.store(doubtful + place, row, mask=in_doubt)


def choose(
    vectors: Tensor, codes: Tensor, parts: Parts, found: Found, is_dot: bool, exact: bool, indices: Tensor
) -> Tensor:
    """Write the code of each vector to `indices`; with `exact`, return the rows in doubt, as many as the first counter says."""
    (n, d), k = vectors.shape, len(codes)
    doubtful = torch.empty(n, device=vectors.device, dtype=torch.int32)
    _choose[(triton.cdiv(n, ROWS),)](
        *(vectors, codes, *found, parts.offsets, parts.lengths, parts.longest, parts.counters, indices, doubtful),
        *(n, k, d, len(found.bests), len(parts.longest), *factors(d)),
        is_dot=is_dot,
        exact=exact,
        group=GROUP,
        rows_block=ROWS,
        max_programs=MAX_PROGRAMS,
    )
    return doubtful
