"""Nearest-code search in chunks that stay in the cache."""

import math
import threading

import torch
from torch import Tensor

DISTANCES_AT_ONCE = 1 << 21
"""Distances held in memory at a time (8 MB in float32: what the caches of a few cores hold)."""
ROWS, COLUMNS = 1376, 1 << 14
"""Most vectors and codes of a chunk."""
LINE = 16
"""Numbers in a line of the cache."""
ALIASED = 256
"""Multiples of it as the number of vectors would put all products of a vector into few sets of a cache."""
BLOCK = 32
"""Codes of which only the greatest product is kept until the best block is known."""

_kept = threading.local()


def chunk_sizes(count: int, codes: int, at_once: int) -> tuple[int, int]:
    """Return how many vectors and how many codes are compared at a time."""
    most = max(1, min(count, ROWS, at_once // min(codes, 4096)))
    chunks = max(1, math.ceil(count / most))  # of one size, since a small rest would take nearly as long as the others
    rows = max(1, min(most, math.ceil(count / chunks / LINE) * LINE))
    if chunks > 1 and rows % ALIASED == 0:
        rows -= LINE
    columns = max(1, min(at_once // rows, COLUMNS))
    return rows, columns - columns % min(BLOCK, columns)


def greatest_products(
    vectors: Tensor, codes: Tensor, offsets: Tensor, at_once: int = DISTANCES_AT_ONCE
) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each vector the greatest z.c + offset over the codes, the number of its code, and the second greatest.

    A tie goes to any of its codes.
    """
    rows, columns = chunk_sizes(len(vectors), len(codes), at_once)
    block = min(BLOCK, columns)
    space = _space(rows * min(columns, len(codes) + block), vectors)
    tables = list(zip(codes.split(columns), offsets.unsqueeze(1).split(columns), strict=True))
    parts = []
    for z in vectors.split(rows):
        everyone = torch.arange(len(z), device=z.device)
        for chunk, (table, offset) in enumerate(tables):
            padded = len(table) + -len(table) % block
            products = space[: padded * len(z)].view(padded, len(z))
            torch.addmm(offset, table, z.T, out=products[: len(table)])
            if padded > len(table):
                products[len(table) :] = -torch.inf
            greatest, place, others = _greatest(products.view(padded // block, block, len(z)), everyone)
            if chunk == 0:
                best, number, second = greatest, place, others
                continue
            second = second.maximum(best.minimum(greatest)).maximum(others)
            number = torch.where(greatest > best, place + chunk * columns, number)
            best = best.maximum(greatest)
        parts.append((best, number, second))
    bests, numbers, seconds = zip(*parts, strict=True)
    return torch.cat(bests), torch.cat(numbers), torch.cat(seconds)


def _space(count: int, like: Tensor) -> Tensor:
    """Return memory for `count` numbers; a thread keeps its 8 MB, since to get and clear them anew costs up to a tenth."""
    if like.device.type != "cpu" or like.dtype != torch.float32 or count > DISTANCES_AT_ONCE:
        return like.new_empty(count)
    if not hasattr(_kept, "space"):
        with torch.inference_mode(False):  # what is made in this mode cannot be written to outside it
            _kept.space = torch.empty(DISTANCES_AT_ONCE)
    space: Tensor = _kept.space
    return space[:count]


def release_memory() -> None:
    """Give back the 8 MB that this thread keeps for its next search."""
    _kept.__dict__.clear()


def _greatest(blocks: Tensor, everyone: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the greatest product of each vector, its place among the codes, and the second greatest.

    A maximum comes cheap and its place does not, so that the place is looked for in the best block alone.
    """
    tops = blocks.amax(dim=1)
    best, where = tops.max(dim=0)
    inside = blocks[where, :, everyone]
    place = inside.max(dim=1).indices  # half the time of argmax
    others = tops.scatter_(0, where.unsqueeze(0), -torch.inf).amax(dim=0)
    within = inside.scatter_(1, place.unsqueeze(1), -torch.inf).amax(dim=1)
    return best, where * blocks.shape[1] + place, others.maximum(within)
