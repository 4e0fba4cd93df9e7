"""The two best groups of codes of each vector and the score of the third, by products of bfloat16 parts on the tensor cores."""

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from .blocks import GROUP, MAX_HELD, Blocks, block_of
from .parts import Parts


class Found(NamedTuple):
    """What each share of the codes found, `s n`; the codes of a group are those from `GROUP` times it on."""

    firsts: Tensor
    """The best group, the lowest that has its score."""
    seconds: Tensor
    """The best group of another lane, which is the second best but for one time in as many as there are lanes."""
    scores: Tensor
    """`3 s n`: the max scores of the first, of the second, and of all other groups."""


@triton.jit
@no_type_check
def _two_best(
    vectors,
    codes,
    offsets,
    firsts,
    seconds,
    found_scores,
    n,
    k_padded,
    split,
    width: tl.constexpr,
    block_vectors: tl.constexpr,
    block_codes: tl.constexpr,
    block_channels: tl.constexpr,
    group: tl.constexpr,
    held: tl.constexpr,
    in_float32: tl.constexpr,
):
    """For a block of vectors, walk over a share of the codes.

    Column j of a block of codes is code (j % lanes) * group + j // lanes, so that the codes of a group are `lanes` columns
    apart: a thread of the tensor cores' layout has them all, and their max costs one instruction a score. What is
    remembered, the best and the second best group of each lane, is then updated once a group.
    """
    lanes: tl.constexpr = block_codes // group
    blocks: tl.constexpr = width // block_channels
    row = tl.arange(0, block_vectors)
    column = tl.arange(0, block_codes)
    lane = tl.arange(0, lanes)
    code = (column % lanes) * group + column // lanes
    channel = tl.arange(0, block_channels)[None, :]
    z_rows = vectors + tl.program_id(0).to(tl.int64) * block_vectors * width + row[:, None] * width + channel
    if held:
        z = ()
        for block in tl.static_range(blocks):
            z = z + (tl.load(z_rows + block * block_channels),)  # noqa: RUF005  # triton unpacks nothing
    best = tl.full((block_vectors, lanes), float("-inf"), tl.float32)
    second = tl.full((block_vectors, lanes), float("-inf"), tl.float32)
    start = tl.program_id(1) * split
    where = tl.full((block_vectors, lanes), 0, tl.int32) + start
    for first in range(start, min(start + split, k_padded), block_codes):
        c_rows = codes + (first + code).to(tl.int64)[:, None] * width + channel
        scores = tl.zeros((block_vectors, block_codes), tl.float32)
        if (
            blocks == 1
        ):  # said here, since the compiler would do it: the sum begins with the offset, and the bound knows
            scores += tl.load(offsets + first + code)[None, :]
        if held:
            for block in tl.static_range(blocks):
                c = tl.load(c_rows + block * block_channels)
                if in_float32:
                    scores = tl.dot(z[block].to(tl.float32), tl.trans(c.to(tl.float32)), scores, out_dtype=tl.float32)
                else:
                    scores = tl.dot(z[block], tl.trans(c), scores, out_dtype=tl.float32)
        else:
            for block in range(blocks):
                part = tl.load(z_rows + block * block_channels)
                c = tl.load(c_rows + block * block_channels)
                if in_float32:
                    scores = tl.dot(part.to(tl.float32), tl.trans(c.to(tl.float32)), scores, out_dtype=tl.float32)
                else:
                    scores = tl.dot(part, tl.trans(c), scores, out_dtype=tl.float32)
        if blocks > 1:
            scores += tl.load(offsets + first + code)[None, :]
        top = tl.max(tl.reshape(scores, (block_vectors, group, lanes)), axis=1)
        second = tl.maximum(second, tl.minimum(best, top))
        where = tl.where(top > best, first, where)
        best = tl.maximum(best, top)
    number = where // group + lane[None, :]
    top = tl.max(best, axis=1)
    chosen = tl.min(tl.where(best == top[:, None], number, 0x7FFFFFFF), axis=1)
    others = tl.where(number == chosen[:, None], float("-inf"), best)
    runner_up = tl.max(others, axis=1)
    is_next = (others == runner_up[:, None]) & (number != chosen[:, None])
    following = tl.min(tl.where(is_next, number, 0x7FFFFFFF), axis=1)
    others = tl.where(number == following[:, None], float("-inf"), others)
    third = tl.max(tl.maximum(others, second), axis=1)
    rows = tl.program_id(0) * block_vectors + row
    out = tl.program_id(1).to(tl.int64) * n + rows
    shares = tl.num_programs(1).to(tl.int64) * n
    tl.store(firsts + out, chosen, mask=rows < n)
    tl.store(seconds + out, following, mask=rows < n)
    tl.store(found_scores + out, top, mask=rows < n)
    tl.store(found_scores + shares + out, runner_up, mask=rows < n)
    tl.store(found_scores + 2 * shares + out, third, mask=rows < n)


def best_groups(parts: Parts, n: int, split: int, blocks: Blocks) -> Found:
    """Return what the shares of `split` codes each found for the `n` vectors.

    A score is the same in any blocks: the order of its sum depends on the channels alone.
    """
    k_padded, width = parts.codes.shape
    splits, device = triton.cdiv(k_padded, split), parts.codes.device
    firsts = torch.empty(splits, n, device=device, dtype=torch.int32)
    found = Found(firsts, torch.empty_like(firsts), torch.empty(3, splits, n, device=device))
    held = width <= MAX_HELD
    _two_best[(len(parts.vectors) // blocks.vectors, splits)](
        *(parts.vectors, parts.codes, parts.offsets, *found, n, k_padded, split),
        width=width,
        block_vectors=blocks.vectors,
        block_codes=blocks.codes,
        block_channels=block_of(width),
        group=GROUP,
        held=held,
        in_float32=not parts.codes.is_cuda,  # the interpreter does not know products of bfloat16; they are exact in float32
        num_warps=blocks.warps,
        num_stages=blocks.stages,
    )
    return found
