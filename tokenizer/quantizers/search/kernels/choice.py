"""The code of each vector, from the two best groups, and whether it is certain."""

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


@triton.jit
@no_type_check
def _scores_at(scores, place, n, splits):
    """Return what `best_groups` found of the best, the second and all other groups."""
    size, place = splits * n, place.to(tl.int64)
    return tl.load(scores + place), tl.load(scores + (place + size)), tl.load(scores + (place + size + size))


@triton.jit
@no_type_check
def _choose(
    vectors,
    codes,
    firsts,
    seconds,
    scores,
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
    """Choose in float64 among the codes of two groups; list the rows in which a third might have the nearest.

    The true nearest code c is no longer than 2 |z| + |e| for any other code e, since |c| <= |z| + |z - c| <= |z| + |z - e|.
    If first - third > 2 bound, with the bound for codes as long as those of the first group and c, c is in one of the two.
    """
    row = tl.program_id(0) * rows_block + tl.arange(0, rows_block)
    is_row = row < n
    row = tl.minimum(row, n - 1)
    first, second = tl.load(firsts + row), tl.load(seconds + row)
    best, next_best, third = _scores_at(scores, row, n, splits)
    for share in range(1, splits):
        place = share * n + row
        top, next_top, rest = _scores_at(scores, place, n, splits)
        is_better = top > best
        loser, loser_score = tl.where(is_better, first, tl.load(firsts + place)), tl.minimum(best, top)
        kept = tl.where(is_better, tl.load(seconds + place), second)
        kept_score, left_score = tl.where(is_better, next_top, next_best), tl.where(is_better, next_best, next_top)
        first, best = tl.where(is_better, tl.load(firsts + place), first), tl.maximum(best, top)
        second, next_best = tl.where(loser_score > kept_score, loser, kept), tl.maximum(loser_score, kept_score)
        third = tl.maximum(tl.maximum(third, rest), tl.maximum(left_score, tl.minimum(loser_score, kept_score)))
    column = tl.arange(0, 2 * group)[None, :]
    is_first = column < group
    code = tl.where(is_first, first[:, None], second[:, None]) * group + column % group
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
            inside = 2 * size + tl.max(tl.where(is_first, tl.load(lengths + n + code), 0.0), axis=1)
            reach = tl.where(inside < top, inside, top)
            scale = reach * (size + reach)
        bound = product_factor * (size * reach) + score_factor * scale + absolute_factor * (1 + size + reach)
        in_doubt = is_row & ~(best - third > 2 * bound)
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
        *(n, k, d, len(found.firsts), len(parts.longest), *factors(d)),
        is_dot=is_dot,
        exact=exact,
        group=GROUP,
        rows_block=ROWS,
        max_programs=MAX_PROGRAMS,
    )
    return doubtful
