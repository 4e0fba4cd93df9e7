"""Nearest-code search on a CUDA device: one kernel that never writes a distance to memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_VECTORS = 64
BLOCK_CODES = 64
BLOCK_CHANNELS = 32


@triton.jit  # type: ignore[untyped-decorator]
def _greatest_product(  # type: ignore[no-untyped-def]
    vectors,
    codes,
    numbers,
    n,
    k,
    d,
    block_vectors: tl.constexpr,
    block_codes: tl.constexpr,
    block_channels: tl.constexpr,
):
    """For a block of vectors, walk over all codes and keep the number of the one with the greatest z.c."""
    rows = tl.program_id(0).to(tl.int64) * block_vectors + tl.arange(0, block_vectors)
    best = tl.full((block_vectors,), float("-inf"), tl.float32)
    number = tl.zeros((block_vectors,), tl.int64)
    for first in range(0, k, block_codes):
        columns = (first + tl.arange(0, block_codes)).to(tl.int64)
        products = tl.zeros((block_vectors, block_codes), tl.float32)
        for channel in range(0, d, block_channels):
            channels = channel + tl.arange(0, block_channels)
            z = tl.load(
                vectors + rows[:, None] * d + channels[None, :],
                mask=(rows[:, None] < n) & (channels[None, :] < d),
                other=0.0,
            )
            c = tl.load(
                codes + columns[None, :] * d + channels[:, None],
                mask=(columns[None, :] < k) & (channels[:, None] < d),
                other=0.0,
            )
            # Full float32: the tensor cores' tf32 keeps three digits, and would change tokens.
            products = tl.dot(z, c, products, input_precision="ieee")
        products = tl.where(columns[None, :] < k, products, float("-inf"))
        score, index = tl.max(products, axis=1, return_indices=True, return_indices_tie_break_left=True)
        better = score > best
        best = tl.where(better, score, best)
        number = tl.where(better, first + index.to(tl.int64), number)
    tl.store(numbers + rows, number, mask=rows < n)


def greatest_products(vectors: Tensor, codes: Tensor) -> Tensor:
    """Return for each row of `vectors` (`n d`) the number of the row of `codes` (`k d`) with the greatest z.c.

    float32 throughout, ties to the lowest number, deterministic: one program searches all codes for its vectors.
    """
    vectors, codes = vectors.contiguous(), codes.contiguous()
    numbers = torch.empty(len(vectors), dtype=torch.int64, device=vectors.device)
    if len(vectors):
        _greatest_product[(triton.cdiv(len(vectors), BLOCK_VECTORS),)](
            vectors,
            codes,
            numbers,
            len(vectors),
            len(codes),
            vectors.shape[1],
            BLOCK_VECTORS,
            BLOCK_CODES,
            BLOCK_CHANNELS,
        )
    return numbers
