"""Nearest-code search in chunks that stay in the cache."""

import math
import threading
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ...numerics.threads import stop_threads

DISTANCES_AT_ONCE = 1 << 21
"""Distances that a thread holds in memory at a time (8 MB in float32: what its cache holds)."""
CODES = 1 << 13
"""Most codes of a chunk."""
FEW_CODES = 1 << 10
"""Codes for which there is room whatever the number of vectors."""
GROUP = 256
"""Most vectors of a group, which goes through all steps by itself, so that they find what was written in the cache."""
BLOCK = 32
"""Codes of which only the greatest product is kept until the best block is known."""

_kept = threading.local()


class Chunk(NamedTuple):
    """What is compared at a time."""

    groups: int
    vectors: int
    """Of a group."""
    codes: int

    @property
    def rows(self) -> int:
        """Vectors of all groups."""
        return self.groups * self.vectors


def chunk_for(count: int, codes: int, at_once: int) -> Chunk:
    """Return a chunk of at most `at_once` distances; of one size for all vectors, since a small rest takes nearly as long."""
    most = max(1, at_once // min(codes, CODES))
    if most < GROUP:  # little memory: fewer codes at a time, so that there is room for a few vectors
        most = max(1, min(GROUP, at_once // min(codes, FEW_CODES)))
    rows = max(1, math.ceil(count / math.ceil(max(1, count) / most)))
    groups = math.ceil(rows / GROUP)
    vectors = math.ceil(rows / groups)
    columns = max(1, min(at_once // (groups * vectors), CODES))
    return Chunk(groups, vectors, columns - columns % min(BLOCK, columns))


def greatest_products(
    vectors: Tensor, codes: Tensor, offsets: Tensor, at_once: int = DISTANCES_AT_ONCE
) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each vector the greatest z.c + offset over the codes, the number of its code, and the second greatest.

    A tie goes to any of its codes.
    """
    count, chunk = len(vectors), chunk_for(len(vectors), len(codes), at_once)
    block = min(BLOCK, chunk.codes)
    vectors = _padded(vectors, chunk.vectors, 0.0).unflatten(0, (-1, chunk.vectors))
    space = _space(chunk.groups * chunk.vectors * min(chunk.codes, len(codes) + -len(codes) % block), vectors)
    tables = [
        (_padded(table, block, 0.0), _padded(offset, block, -torch.inf))
        for table, offset in zip(codes.split(chunk.codes), offsets.unsqueeze(1).split(chunk.codes), strict=True)
    ]
    parts = []
    for z in vectors.split(chunk.groups):
        for number_of_table, (table, offset) in enumerate(tables):
            sizes = len(z), len(table), chunk.vectors
            products = space[: math.prod(sizes)].view(sizes)
            torch.baddbmm(offset.expand(len(z), -1, -1), table.expand(len(z), -1, -1), z.transpose(1, 2), out=products)
            greatest, place, others = _greatest(products.unflatten(1, (-1, block)))
            if number_of_table == 0:
                best, number, second = greatest, place, others
                continue
            second = second.maximum(best.minimum(greatest)).maximum(others)
            number = torch.where(greatest > best, place + number_of_table * chunk.codes, number)
            best = best.maximum(greatest)
        parts.append((best, number, second))
    bests, numbers, seconds = (torch.cat(values).flatten()[:count] for values in zip(*parts, strict=True))
    # For an infinite vector the greatest may be a NaN of the padding.
    return bests, numbers.clamp_max(len(codes) - 1), seconds


def _padded(rows: Tensor, multiple: int, value: float) -> Tensor:
    missing = -len(rows) % multiple
    return functional.pad(rows, (0, 0, 0, missing), value=value) if missing else rows  # which copies even for 0


def _space(count: int, like: Tensor) -> Tensor:
    """Return memory for `count` numbers; a thread keeps its 8 MB, since to get and clear them anew costs up to a tenth."""
    if like.device.type != "cpu" or count > DISTANCES_AT_ONCE:
        return like.new_empty(count)
    if not hasattr(_kept, "space"):
        with torch.inference_mode(False):  # what is made in this mode cannot be written to outside it
            _kept.space = torch.empty(DISTANCES_AT_ONCE, dtype=torch.float32, device="cpu")  # whatever the defaults
    space: Tensor = _kept.space
    return space[:count]


def release_memory() -> None:
    """End the threads that search, and give back the 8 MB that each keeps, as this one does."""
    _kept.__dict__.clear()
    stop_threads()


def _greatest(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the greatest product of each vector, its place among the codes, and the second greatest.

    `blocks` are groups x blocks x codes x vectors. A maximum comes cheap and its place does not, so that the place is looked
    for in the best block alone.
    """
    groups, _, size, vectors = blocks.shape
    tops = blocks.amax(dim=2)
    best, where = tops.max(dim=1)
    group = torch.arange(groups, device=blocks.device).unsqueeze(1)
    inside = blocks[group, where, :, torch.arange(vectors, device=blocks.device)]
    place = inside.max(dim=2).indices  # half the time of argmax
    others = tops.scatter_(1, where.unsqueeze(1), -torch.inf).amax(dim=1)
    within = inside.scatter_(2, place.unsqueeze(2), -torch.inf).amax(dim=2)
    return best, where * size + place, others.maximum(within)
