"""Nearest-code search on a CUDA device: one kernel that never writes a distance to memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_VECTORS = 64
BLOCK_CODES = 64
BLOCK_CHANNELS = 64
LARGEST_HELD = 128
"""Most channels with which a program keeps its vectors in registers."""
FEWEST_CODES = 1024
"""Codes that are worth a program of their own where vectors are few."""


@triton.jit  # type: ignore[untyped-decorator]
def _greatest_products(  # type: ignore[no-untyped-def]
    vectors,
    codes,
    offsets,
    scores,
    numbers,
    seconds,
    n,
    k,
    d,
    share,
    block_vectors: tl.constexpr,
    block_codes: tl.constexpr,
    block_channels: tl.constexpr,
    held: tl.constexpr,
):
    """For a block of vectors, walk over a share of the codes and keep the greatest z.c + offset and the second greatest."""
    rows = tl.program_id(0).to(tl.int64) * block_vectors + tl.arange(0, block_vectors)
    channels = tl.arange(0, block_channels)
    if held:
        z = tl.load(
            vectors + rows[:, None] * d + channels[None, :],
            mask=(rows[:, None] < n) & (channels[None, :] < d),
            other=0.0,
        )
    best = tl.full((block_vectors,), float("-inf"), tl.float32)
    second = tl.full((block_vectors,), float("-inf"), tl.float32)
    number = tl.zeros((block_vectors,), tl.int64)
    start = tl.program_id(1) * share
    for first in range(start, min(start + share, k), block_codes):
        columns = (first + tl.arange(0, block_codes)).to(tl.int64)
        # Full float32: the tensor cores' tf32 keeps three digits, and would change tokens.
        if held:
            c = tl.load(
                codes + columns[None, :] * d + channels[:, None],
                mask=(columns[None, :] < k) & (channels[:, None] < d),
                other=0.0,
            )
            products = tl.dot(z, c, input_precision="ieee")
        else:
            products = tl.zeros((block_vectors, block_codes), tl.float32)
            for channel in range(0, d, block_channels):
                inner = channel + channels
                part = tl.load(
                    vectors + rows[:, None] * d + inner[None, :],
                    mask=(rows[:, None] < n) & (inner[None, :] < d),
                    other=0.0,
                )
                c = tl.load(
                    codes + columns[None, :] * d + inner[:, None],
                    mask=(columns[None, :] < k) & (inner[:, None] < d),
                    other=0.0,
                )
                products = tl.dot(part, c, products, input_precision="ieee")
        products += tl.load(offsets + columns, mask=columns < k, other=float("-inf"))[None, :]
        score, index = tl.max(products, axis=1, return_indices=True, return_indices_tie_break_left=True)
        others = tl.where(tl.arange(0, block_codes)[None, :] == index[:, None], float("-inf"), products)
        second = tl.maximum(tl.maximum(second, tl.minimum(best, score)), tl.max(others, axis=1))
        number = tl.where(score > best, first + index.to(tl.int64), number)
        best = tl.maximum(best, score)
    place = tl.program_id(1).to(tl.int64) * n + rows
    tl.store(scores + place, best, mask=rows < n)
    tl.store(numbers + place, number, mask=rows < n)
    tl.store(seconds + place, second, mask=rows < n)


def greatest_products(vectors: Tensor, codes: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each vector the greatest z.c + offset over the codes, the number of its code, and the second greatest.

    float32 throughout, in an order that depends on the sizes alone. Where vectors are few, several programs share the
    codes between them.
    """
    n, (k, d) = len(vectors), codes.shape
    vectors, codes, offsets = vectors.contiguous(), codes.contiguous(), offsets.contiguous()
    groups = triton.cdiv(n, BLOCK_VECTORS)
    shares = max(1, min(_programs(vectors) // max(1, groups), triton.cdiv(k, FEWEST_CODES)))
    share = triton.cdiv(triton.cdiv(k, shares), BLOCK_CODES) * BLOCK_CODES
    shares = triton.cdiv(k, share)
    scores = torch.empty(shares, n, device=vectors.device)
    numbers, seconds = torch.empty_like(scores, dtype=torch.int64), torch.empty_like(scores)
    held = d <= LARGEST_HELD
    if n:
        with torch.cuda.device_of(vectors):
            _greatest_products[(groups, shares)](
                *(vectors, codes, offsets, scores, numbers, seconds, n, k, d, share),
                block_vectors=BLOCK_VECTORS,
                block_codes=BLOCK_CODES,
                block_channels=max(16, triton.next_power_of_2(d)) if held else BLOCK_CHANNELS,
                held=held,
                num_warps=4,
            )
    best, where = scores.max(dim=0)
    where = where.unsqueeze(0)
    second = seconds.amax(dim=0).maximum(scores.scatter(0, where, -torch.inf).amax(dim=0))
    return best, numbers.gather(0, where).squeeze(0), second


def _programs(vectors: Tensor) -> int:
    """Return how many programs keep the device busy."""
    return 4 * torch.cuda.get_device_properties(vectors.device).multi_processor_count if vectors.is_cuda else 4
