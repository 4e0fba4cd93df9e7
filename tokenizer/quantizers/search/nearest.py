"""Nearest-code search: one function for every quantizer that has a table of codes."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from ...numerics.float32 import full_precision
from ...numerics.threads import spread
from ...shapes import CodeIndices, Codes, Vectors
from ..scale import on_unit_sphere
from .chunked import DISTANCES_AT_ONCE, greatest_products
from .exact import half_squares, in_doubt, settle

Similarity: TypeAlias = Literal["euclidean", "cosine", "dot"]

DISTANCES_A_THREAD = 1 << 20
"""Distances that are worth a thread of their own."""


def normalise(vectors: Tensor, similarity: Similarity) -> Tensor:
    """Put rows onto the unit sphere when they are compared by cosine; leave them as they are otherwise."""
    return on_unit_sphere(vectors) if similarity == "cosine" else vectors


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
    vectors: Vectors,
    codes: Codes,
    similarity: Similarity = "euclidean",
    at_once: int = DISTANCES_AT_ONCE,
    exact: bool = True,
) -> CodeIndices:
    """Return for each vector the number of its nearest code; a tie goes to the lowest number.

    Rows compared by cosine must be on the unit sphere (`normalise`), where the nearest by distance is the nearest by
    cosine. The code is that of a search in float64, whatever the autocast, the matrix precision, the device, the other
    rows and `at_once`: products in float32 find it together with the runner-up, and the rows in which rounding could have
    swapped the two are searched again in float64. Never more than `at_once` distances exist in a thread, and on a CUDA
    device one kernel does the first search and keeps none at all. A row that is not finite gets code 0. Unless `exact`, the
    search in float32 has the last word, and the device is not waited for.

    On a CPU each thread takes shares of the vectors through the whole search.
    """
    on_cpu = vectors.device.type == "cpu" and not torch.compiler.is_compiling()
    threads = torch.get_num_threads() if on_cpu else 1
    shares = min(threads, len(vectors) * len(codes) // DISTANCES_A_THREAD)
    search = partial(_search, codes=codes, is_dot=similarity == "dot", at_once=at_once, exact=exact)
    with full_precision():
        if shares <= 1:  # one thread takes all steps
            return spread(search, [vectors], threads)[0]
        return search(vectors, shares=shares, threads=threads)


def _search(
    vectors: Vectors, codes: Codes, is_dot: bool, at_once: int, exact: bool, shares: int = 1, threads: int = 1
) -> CodeIndices:
    (table,) = spread(partial(_table, is_dot=is_dot), [codes], threads)
    parts = vectors.split(max(1, math.ceil(len(vectors) / shares)))
    found = spread(partial(_first_search, table=table, is_dot=is_dot, at_once=at_once), parts, threads)
    numbers, is_unsure = (torch.cat(values) for values in zip(*found, strict=True))
    if exact and len(rows := is_unsure.nonzero().flatten()):
        again = partial(_settled, vectors=vectors, codes=table.codes, is_dot=is_dot, at_once=at_once)
        numbers[rows] = torch.cat(spread(again, rows.split(math.ceil(len(rows) / shares)), threads))
    return numbers


class _Table(NamedTuple):
    """Codes as they are searched."""

    codes: Codes
    centre: Tensor
    """What vectors and codes are taken from."""
    centred: Codes
    lengths: Tensor
    """Of the centred codes, ` k`."""


class _FirstFound(NamedTuple):
    """What a search in float32 finds."""

    numbers: CodeIndices
    is_unsure: Tensor
    """Whether rounding could have swapped the nearest and the second nearest, ` n`."""


@torch.no_grad()
def _table(codes: Codes, is_dot: bool) -> _Table:
    with torch.autocast(codes.device.type, enabled=False):
        codes = codes.float()
        # |z - c|^2 = |z|^2 - 2 (z.c - |c|^2 / 2), all taken from the codes' mean, which leaves fewer rows in doubt.
        centre = codes.new_zeros(()) if is_dot else codes.mean(dim=0)
        centred = codes if is_dot else codes - centre
        return _Table(codes, centre, centred, torch.linalg.vector_norm(centred, dim=1))


@torch.no_grad()
def _first_search(vectors: Vectors, table: _Table, is_dot: bool, at_once: int) -> _FirstFound:
    with torch.autocast(vectors.device.type, enabled=False):
        centred = vectors.float() if is_dot else vectors.float() - table.centre
        kernel = _kernel() if vectors.is_cuda else None
        search = kernel or partial(greatest_products, at_once=at_once)
        found = search(centred, table.centred, half_squares(table.lengths, is_dot))
        return _FirstFound(found[1], in_doubt(found, centred, table.lengths, is_dot))


@torch.no_grad()
def _settled(rows: Tensor, vectors: Vectors, codes: Codes, is_dot: bool, at_once: int) -> Tensor:
    with torch.autocast(vectors.device.type, enabled=False):
        return settle(vectors[rows].float(), codes, is_dot, at_once)


@cache
def _kernel() -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]] | None:
    """Return the CUDA kernel, or none where triton is not installed."""
    try:
        from .triton_kernel import greatest_products as kernel
    except ImportError:
        return None
    return kernel
