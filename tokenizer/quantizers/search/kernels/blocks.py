"""Sizes of the blocks that the kernels work on, by channels and by card."""

from typing import NamedTuple

GROUP = 8
"""Consecutive codes that form a group; the products tell the best group, float64 tells its best code.

A block of codes has 8 groups at least, as the tensor cores' results lie in memory 8 columns at a time.
"""
PARTS = 3
"""Products of parts: low times high, high times low, high times high."""
MIN_WIDTH = 16
"""Fewest channels that the tensor cores multiply."""
MAX_SINGLE = 128
"""Width up to which all channels are one block."""
CHANNELS = 64
"""Channels of a block of wider vectors."""
MAX_HELD = 256
"""Width up to which a program keeps its vectors; wider ones it reads again for each block of codes."""
MIN_SPLIT = 1024
"""Fewest codes of a program, where vectors are few and programs share the codes."""


class Blocks(NamedTuple):
    """How the search for the best groups is cut."""

    vectors: int
    """Vectors of a program: a power of 2, at least 64."""
    codes: int
    """Codes that they are multiplied with at a time: a power of 2, at least 8 groups."""
    warps: int
    stages: int
    """Blocks of codes on their way from memory."""


TABLE: dict[str, list[tuple[int, Blocks]]] = {
    "sm_80": [
        (32, Blocks(128, 128, 8, 4)),
        (128, Blocks(128, 128, 8, 2)),
        (256, Blocks(128, 64, 8, 2)),
        (1 << 30, Blocks(128, 128, 8, 3)),
    ],
    "sm_90": [
        (32, Blocks(128, 128, 8, 4)),
        (128, Blocks(128, 128, 8, 3)),
        (256, Blocks(128, 128, 8, 2)),
        (1 << 30, Blocks(128, 256, 8, 3)),
    ],
}
"""For each card, blocks by the width up to which they are taken. scripts/tune_search.py measures what stands here.

No code depends on them: where codes are certified, any sizes find the same.
"""


def width_of(dim: int) -> int:
    """Return the channels of vectors and codes in parts: `PARTS * dim` of them and zeros."""
    width = PARTS * dim
    if width <= MAX_SINGLE:
        return max(MIN_WIDTH, 1 << (width - 1).bit_length())
    return -(-width // CHANNELS) * CHANNELS


def block_of(width: int) -> int:
    """Return the channels that are multiplied at a time."""
    return width if width <= MAX_SINGLE else CHANNELS


def blocks_for(width: int, major: int) -> Blocks:
    """Return the sizes for a width on a card of compute capability `major`.

    Cards for servers after Hopper take Hopper's. From 12 on, as below 9, there are cards whose blocks have 99 KB of memory.
    """
    return next(blocks for limit, blocks in TABLE["sm_90" if 9 <= major < 12 else "sm_80"] if width <= limit)


def split_of(rows: int, codes: int, block: int, programs: int) -> int:
    """Return the codes of a program, a multiple of `block`, so that about `programs` have work.

    `rows` is the number of blocks of vectors, `codes` the number of codes, a multiple of `block`.
    """
    splits = max(1, min(programs // max(1, rows), codes // MIN_SPLIT))
    return -(-codes // (splits * block)) * block
