"""Nearest-code search: one function for every quantizer that has a table of codes."""

from collections.abc import Callable
from functools import cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ...devices import in_float64
from ...numerics.float32 import multiplies_in_float32
from ...shapes import CodeIndices, Codes, Vectors
from .chunked import two_best
from .exported import nearest_by_product

Similarity: TypeAlias = Literal["euclidean", "cosine", "dot"]

AT_ONCE = 1 << 20
"""Products of rows and codes in float64 in memory at a time, and numbers of the differences of pairs (8 MB each)."""


def scores(vectors: Vectors, codes: Codes, similarity: Similarity) -> Tensor:
    """Return `n k`, the maximum for the nearest code: the dot product, or -|z - c|^2 plus a constant of each row.

    The constant is |z - m|^2, which cancels in a softmax. All is taken from m, the mean of the codes, so that an offset
    common to vectors and codes costs no digits.
    """
    if similarity == "dot":
        return vectors @ codes.T
    centre = codes.detach().mean(dim=0)
    codes = codes - centre
    return 2 * (vectors - centre) @ codes.T - codes.square().sum(dim=1)


@torch.no_grad()
def nearest_codes(
    vectors: Vectors,
    codes: Codes,
    similarity: Similarity = "euclidean",
    *,
    exact: bool = True,
    excluded: Tensor | None = None,
) -> CodeIndices:
    """Return for each vector the index of its nearest code; a tie goes to the lowest index.

    Rows compared by cosine must be on the unit sphere (`on_unit_sphere`), where the nearest is the nearest by cosine. Memory is
    bounded by a chunk, or on CUDA by the vectors, never by vectors times codes. Autocast has no effect.

    With `exact` the code is that of a search in float64, whatever the matrix precision, the device and the other rows. A
    search in float32 also finds the runner-up; where rounding could have swapped the two, float64 decides. A row that is not
    finite gets code 0. This waits for the device.

    Without it, the search in float32 has the last word and does not wait: accurate enough for training. It can skip the
    codes `excluded`, booleans ` k`; where all are, the index means nothing. So it is in a program that `torch.export` makes,
    exact or not, since what float64 would decide depends on the values.
    """
    assert excluded is None or not exact
    is_dot = similarity == "dot"
    with torch.autocast(vectors.device.type, enabled=False):
        vectors, codes = vectors.float(), codes.float()
        is_exported = torch.compiler.is_exporting()
        if exact and not is_exported and not multiplies_in_float32(vectors.device):
            return nearest_in_float64(vectors, codes, is_dot).to(vectors.device)
        # |z - c|^2 = |z|^2 - 2 (z.c - |c|^2 / 2); taken from the codes' mean, float32 leaves fewer rows ambiguous.
        centre = codes.new_zeros(()) if is_dot else codes.mean(dim=0)
        points, table = vectors - centre, codes - centre
        offsets = _offsets(table, is_dot)
        if is_exported:
            return nearest_by_product(points, table, offsets)
        if excluded is not None:
            offsets = offsets.masked_fill(excluded, -torch.inf)
        _, index, _ = found = _two_best(vectors.is_cuda)(points, table, offsets)
        if exact and len(rows := _is_ambiguous(found, points, table, is_dot).nonzero().flatten()):
            index[rows] = nearest_in_float64(vectors[rows], codes, is_dot).to(index.device)
        return index


@cache
def _two_best(on_cuda: bool) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Return the search in float32: on CUDA a kernel, where triton is installed."""
    if not on_cuda:
        return two_best
    try:
        from .triton_kernel import two_best as kernel
    except ImportError:
        return two_best
    return kernel


def _offsets(codes: Tensor, is_dot: bool) -> Tensor:
    """Return what is added to the product with each code, ` k`, so that the maximum is that of the nearest code."""
    return codes.new_zeros(len(codes)) if is_dot else codes.square().sum(dim=1) / -2


def _is_ambiguous(found: tuple[Tensor, Tensor, Tensor], vectors: Tensor, codes: Tensor, is_dot: bool) -> Tensor:
    """Return for each row, ` n`, whether rounding could have swapped the best code and the runner-up."""
    best, index, second = found
    lengths = torch.linalg.vector_norm(codes, dim=1)
    # |c| <= |z| + |z - c| <= |z| + |z - found| <= 2 |z| + |found|: codes far outside make no row ambiguous.
    reach = 2 * torch.linalg.vector_norm(vectors, dim=1) + lengths[index]
    return ~(best - second > 2 * _rounding(vectors, lengths.max() if is_dot else reach.minimum(lengths.max()), is_dot))


def _rounding(vectors: Tensor, reach: Tensor, is_dot: bool) -> Tensor:
    """Return the largest error of a score, ` n`, of any code no longer than `reach`.

    A sum of d + 1 products is off by at most d + 1 roundings in any order; centring and lengths cost the others. Below the
    smallest normal number a rounding is no longer relative.
    """
    size, limits = torch.linalg.vector_norm(vectors, dim=1), torch.finfo(vectors.dtype)
    scale = size * reach if is_dot else reach * (size + reach)
    return (vectors.shape[1] + 8) * (limits.eps / 2 * scale + limits.smallest_normal)


def nearest_in_float64(vectors: Tensor, codes: Tensor, is_dot: bool) -> Tensor:
    """Return the index of the nearest code by float64 products, and by differences where these are too close to tell.

    0 for a row that is not finite.
    """
    vectors, codes = in_float64(vectors), in_float64(codes)
    offsets, longest = _offsets(codes, is_dot), torch.linalg.vector_norm(codes, dim=1).max()
    found = []
    for rows in vectors.split(max(1, AT_ONCE // len(codes))):
        products = torch.addmm(offsets, rows, codes.T)
        floor = products.amax(dim=1) - 2 * _rounding(rows, longest, is_dot)
        distances = torch.full_like(products, torch.inf)
        for pairs in (products >= floor.unsqueeze(1)).nonzero().split(max(1, AT_ONCE // codes.shape[1])):
            row, column = pairs.T
            z, c = rows[row], codes[column]
            distances[row, column] = -(z * c).sum(dim=1) if is_dot else (z - c).square().sum(dim=1)
        found.append(distances.argmin(dim=1))
    return torch.cat(found)
