"""Distances in float64, in an order of summation that depends on the channels alone."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def distances(vectors, codes, row, code, d, is_dot):
    """Return |z - c|^2, or -z.c, of rows `r 1` and codes `r k` or `1 k`, all of which exist."""
    z_rows = vectors + row.to(tl.int64) * d
    c_rows = codes + code.to(tl.int64) * d
    total = tl.zeros((row + code).shape, tl.float64)
    for channel in range(d):
        z = tl.load(z_rows + channel).to(tl.float64)
        c = tl.load(c_rows + channel).to(tl.float64)
        if is_dot:
            total -= z * c
        else:
            total += (z - c) * (z - c)
    return total


@triton.jit
@no_type_check
def nearest_of(distance, code):
    """Return the min over axis 1 and the lowest code that has it; a NaN is never the min."""
    least = tl.min(distance, axis=1)
    return least, tl.min(tl.where(distance == least[:, None], code, 0x7FFFFFFF), axis=1)
