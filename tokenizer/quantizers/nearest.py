"""Nearest-code search: one function for every quantizer that has a table of codes."""

from collections.abc import Callable
from functools import cache, partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from ..shapes import CodeNumbers, Codes, Vectors
from .nearest_certainty import half_squares, in_doubt, settle
from .nearest_chunks import DISTANCES_AT_ONCE, greatest_products
from .precision import full_precision

Similarity: TypeAlias = Literal["euclidean", "cosine", "dot"]


def normalise(vectors: Tensor, similarity: Similarity) -> Tensor:
    """Put rows onto the unit sphere when they are compared by cosine; leave them as they are otherwise."""
    return functional.normalize(vectors, dim=-1) if similarity == "cosine" else vectors


def scores(vectors: Vectors, codes: Codes, similarity: Similarity) -> Tensor:
    """Return `n k`, greatest for the nearest code: the dot product, or -|z - c|^2 plus a number of each row's own.

    A softmax does not see that number, which is |z - m|^2 with m the codes' mean, from which all is taken: a common offset
    of vectors and codes does not cost digits.
    """
    if similarity == "dot":
        return vectors @ codes.T
    centre = codes.detach().mean(dim=0)
    codes = codes - centre
    return 2 * (vectors - centre) @ codes.T - codes.square().sum(dim=1)


@torch.no_grad()
def nearest_codes(
    vectors: Vectors, codes: Codes, similarity: Similarity = "euclidean", at_once: int = DISTANCES_AT_ONCE
) -> CodeNumbers:
    """Return for each vector the number of its nearest code; a tie goes to the lowest number.

    Rows compared by cosine must be on the unit sphere (`normalise`), where the nearest by distance is the nearest by
    cosine. The code is that of a search in float64, whatever the autocast, the matrix precision, the device, the other
    rows and `at_once`: products in float32 find it together with the runner-up, and the rows in which rounding could have
    swapped the two are searched again in float64. Never more than `at_once` distances exist, and on a CUDA device one
    kernel does the first search and keeps none at all. A row with a NaN gets code 0.
    """
    with torch.autocast(vectors.device.type, enabled=False), full_precision():
        vectors, codes, is_dot = vectors.float(), codes.float(), similarity == "dot"
        # |z - c|^2 = |z|^2 - 2 (z.c - |c|^2 / 2), all taken from the codes' mean, which leaves fewer rows in doubt.
        centre = codes.mean(dim=0)
        centred, table = (vectors, codes) if is_dot else (vectors - centre, codes - centre)
        lengths = torch.linalg.vector_norm(table, dim=1)
        kernel = _kernel() if vectors.is_cuda else None
        search = kernel or partial(greatest_products, at_once=at_once)
        found = search(centred, table, half_squares(lengths, is_dot))
        _, numbers, _ = found
        if len(unsure := in_doubt(found, centred, lengths, is_dot)):
            numbers[unsure] = settle(vectors[unsure], codes, is_dot, at_once)
        return numbers


@cache
def _kernel() -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]] | None:
    """Return the CUDA kernel, or none where triton is not installed."""
    try:
        from .nearest_triton import greatest_products as kernel
    except ImportError:
        return None
    return kernel
