"""The search on a CPU, and on devices for which there are no kernels: float32, and float64 where that could be wrong."""

import torch
from torch import Tensor

from ...devices import in_float64
from ...numerics.float32 import multiplies_in_float32
from .chunked import two_best

AT_ONCE = 1 << 20
"""Products of rows and codes in float64 in memory at a time, and numbers of the differences of pairs (8 MB each)."""


def nearest_certified(
    vectors: Tensor, codes: Tensor, is_dot: bool, exact: bool, excluded: Tensor | None = None
) -> Tensor:
    """Return for each vector the index of its nearest code, ` n`; with `exact` this waits for the device."""
    if exact and not multiplies_in_float32(vectors.device):
        return nearest_in_float64(vectors, codes, is_dot).to(vectors.device)
    # |z - c|^2 = |z|^2 - 2 (z.c - |c|^2 / 2); taken from the codes' mean, float32 leaves fewer rows ambiguous.
    points, table = centred(vectors, codes, is_dot)
    offsets = offsets_of(table, is_dot)
    if excluded is not None:
        offsets = offsets.masked_fill(excluded, -torch.inf)
    _, index, _ = found = two_best(points, table, offsets)
    if exact and len(rows := _is_ambiguous(found, points, table, is_dot).nonzero().flatten()):
        index[rows] = nearest_in_float64(vectors[rows], codes, is_dot).to(index.device)
    return index


def centred(vectors: Tensor, codes: Tensor, is_dot: bool) -> tuple[Tensor, Tensor]:
    """Return vectors and codes as seen from the mean of the codes, where distances matter."""
    centre = codes.new_zeros(()) if is_dot else codes.mean(dim=0)
    return vectors - centre, codes - centre


def offsets_of(codes: Tensor, is_dot: bool) -> Tensor:
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

    0 for a row that is not finite. A code that is not a number is nearest to none.
    """
    vectors, codes = in_float64(vectors), in_float64(codes)
    offsets, longest = offsets_of(codes, is_dot), torch.linalg.vector_norm(codes, dim=1).max()
    found = []
    for rows in vectors.split(max(1, AT_ONCE // len(codes))):
        products = torch.addmm(offsets, rows, codes.T)
        floor = products.amax(dim=1) - 2 * _rounding(rows, longest, is_dot)
        distances = torch.full_like(products, torch.inf)
        # A code that is not finite may leave no floor: its rows are compared with all codes.
        is_close = ~(products < floor.unsqueeze(1)) & rows.isfinite().all(dim=1, keepdim=True)
        for pairs in is_close.nonzero().split(max(1, AT_ONCE // codes.shape[1])):
            row, column = pairs.T
            z, c = rows[row], codes[column]
            distances[row, column] = -(z * c).sum(dim=1) if is_dot else (z - c).square().sum(dim=1)
        found.append(distances.nan_to_num(torch.inf, torch.inf, -torch.inf).argmin(dim=1))
    return torch.cat(found)
