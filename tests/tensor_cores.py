"""Tensor cores emulated in float64: products that are added some at a time, aligned and cut."""

import torch

from vistok.tokenizer.quantizers.search.kernels.blocks import block_of, width_of

BITS = 23
"""Bits behind the first one that the largest of the terms keeps, and the sum."""


def split(values):
    """Return the high and the low part, bfloat16, as float32."""
    high = values.bfloat16().float()
    return high, (values - high).bfloat16().float()


def cut(values, unit):
    return torch.where(unit > 0, (values / unit).trunc() * unit, values)


def unit_of(values):
    """Return what the last bit is worth where the values have BITS bits behind the first."""
    exponent = torch.frexp(values.abs())[1] - 1
    return torch.where(values == 0, 0.0, torch.ldexp(torch.ones_like(values), exponent - BITS))


def add_products(total, vectors, codes, added):
    """Return the sum `n k` with the products of `n d` and `k d`, `added` at a time."""
    for z, c in zip(vectors.split(added, dim=1), codes.split(added, dim=1), strict=True):
        terms = torch.cat([z.unsqueeze(1) * c, total.unsqueeze(2)], dim=2)
        terms = cut(terms, unit_of(terms.abs().amax(dim=2, keepdim=True)))
        total = terms.sum(dim=2)  # exact: few terms, all multiples of one unit
        total = cut(total, unit_of(total))
    return total


def scores_of_parts(vectors, codes, offsets, added):
    """Return z.c + offset, `n k` in float64, as the kernels' products of two parts would."""
    (z_high, z_low), (c_high, c_low) = split(vectors), split(codes)
    parts = [torch.cat(part, dim=1).double() for part in ((z_low, z_high, z_high), (c_high, c_low, c_high))]
    offsets = offsets.double().expand(len(vectors), -1)
    width = width_of(vectors.shape[1])
    if block_of(width) == width:
        return add_products(offsets, *parts, added)
    total = add_products(torch.zeros_like(offsets), *parts, added)
    return (total.float() + offsets.float()).double()
