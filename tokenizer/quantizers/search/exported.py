"""Nearest-code search in programs that are exported (`torch.export`, ONNX): a matrix product and its maximum."""

import torch
from torch import Tensor

CODES = 1 << 13
"""Codes that vectors are compared with at a time, so that no program holds vectors times all codes."""


def is_exporting() -> bool:
    """Return whether a program is being exported, by `torch.export` as it is by default, not strict.

    A strict one is traced as torch.compile does, for which torch 2.9 says that it is exporting: both take the operation.
    """
    return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


def nearest_by_product(vectors: Tensor, codes: Tensor, offsets: Tensor) -> Tensor:
    """Return for each vector the index of the maximum of z.c + offset over the codes, in float32.

    A program has no other branches to take: where rounding makes two codes equal, the index is the lower one.
    """
    best = index = None
    for start in range(0, len(codes), CODES):
        table = codes[start : start + CODES]
        products = vectors @ table.T + offsets[start : start + CODES]
        member = products.argmax(dim=1) + start
        if len(codes) <= CODES:
            return member
        top = products.amax(dim=1)
        if best is None or index is None:
            best, index = top, member
            continue
        index = torch.where(top > best, member, index)
        best = best.maximum(top)
    assert index is not None
    return index
