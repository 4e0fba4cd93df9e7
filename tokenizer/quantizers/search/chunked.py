"""Nearest-code search in chunks that stay in the cache of a CPU core."""

import math

import torch
from torch import Tensor
from torch.nn import functional

SCORES = 1 << 21
"""Scores in memory at a time: 8 MB."""
CODES = 1 << 13
"""Codes of a chunk."""
VECTORS = 1 << 8
"""Vectors of a group; where codes are few, a chunk has several groups."""
BLOCK = 32
"""Codes that form a block; only its maximum is kept until the best block is known, since an index costs more."""


def two_best(vectors: Tensor, codes: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each vector the maximum of z.c + offset over the codes, the lowest index that has it, and the runner-up.

    The runner-up is the maximum over the other codes.
    """
    count, size = len(vectors), len(codes)
    width = max(1, min(VECTORS, count))
    groups = _padded(vectors, width).unflatten(0, (-1, width))
    codes, offsets = _padded(codes, BLOCK), _padded(offsets.unsqueeze(1), BLOCK, -torch.inf)
    at_once = max(1, SCORES // (width * min(CODES, len(codes))))
    # One piece of memory for all chunks: to get a new one for each takes as long as the search.
    space = vectors.new_empty(width * min(at_once, len(groups)) * min(CODES, len(codes)))
    found = [_two_best(chunk, codes, offsets, space) for chunk in groups.split(at_once)]
    best, index, second = (torch.cat(values).flatten()[:count] for values in zip(*found, strict=True))
    # For an infinite vector the maximum may be a NaN of the padding.
    return best, index.clamp_max(size - 1), second


def _padded(rows: Tensor, multiple: int, value: float = 0.0) -> Tensor:
    missing = -len(rows) % multiple
    return functional.pad(rows, (0, 0, 0, missing), value=value) if missing else rows  # which copies even for 0


def _two_best(vectors: Tensor, codes: Tensor, offsets: Tensor, space: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `two_best` does, `g n`, for groups of vectors `g n d`; `space` is written to."""
    groups, width, _ = vectors.shape
    group = torch.arange(groups, device=vectors.device).unsqueeze(1)
    row = torch.arange(width, device=vectors.device)
    for start in range(0, len(codes), CODES):
        table, offset = codes[start : start + CODES], offsets[start : start + CODES]
        shape = groups, len(table), width
        scores = space[: math.prod(shape)].view(shape)
        torch.baddbmm(offset.expand(groups, -1, -1), table.expand(groups, -1, -1), vectors.mT, out=scores)
        blocks = scores.unflatten(1, (-1, BLOCK))
        tops = blocks.amax(dim=2)
        top, block = tops.max(dim=1)
        inside = blocks[group, block, :, row]
        member = inside.max(dim=2).indices
        others = tops.scatter_(1, block.unsqueeze(1), -torch.inf).amax(dim=1)
        others = inside.scatter_(2, member.unsqueeze(2), -torch.inf).amax(dim=2).maximum(others)
        member += start + block * BLOCK
        if start == 0:
            best, index, second = top, member, others
            continue
        second = second.maximum(best.minimum(top)).maximum(others)
        index = torch.where(top > best, member, index)
        best = best.maximum(top)
    return best, index, second
