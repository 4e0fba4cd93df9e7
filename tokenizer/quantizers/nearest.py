"""Nearest-code search: one function for every quantizer that has a table of codes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from ..shapes import CodeNumbers, Codes, Vectors

Similarity: TypeAlias = Literal["euclidean", "cosine", "dot"]

DISTANCES_AT_ONCE = 1 << 20
"""Float32 distances held in memory at a time (4 MB: about the cache of a core)."""
ROWS, COLUMNS = 1000, 1 << 14
"""Most vectors and codes of a chunk; a power of two of vectors would put all products of a vector into few sets of a cache."""
BLOCK = 32
"""Codes of which only the greatest product is kept until the best block is known."""


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
    with torch.autocast(vectors.device.type, enabled=False), _full_precision():
        vectors, codes = vectors.float(), codes.float()
        # |z - c|^2 = |z|^2 - 2 (z.c - |c|^2 / 2), all taken from the codes' mean, which leaves fewer rows in doubt.
        is_dot, centre = similarity == "dot", codes.mean(dim=0)
        centred, table = (vectors, codes) if is_dot else (vectors - centre, codes - centre)
        lengths = torch.linalg.vector_norm(table, dim=1)
        offsets = torch.zeros_like(lengths) if is_dot else lengths.square() / -2
        kernel = _kernel() if vectors.is_cuda else None
        best, numbers, second = (kernel or partial(_search, at_once=at_once))(centred, table, offsets)
        size = torch.linalg.vector_norm(centred, dim=1)
        slack = _rounding(table, 2) * _magnitude(size, lengths[numbers], lengths.max(), similarity)
        if len(unsure := (~(best - second > slack)).nonzero().flatten()):
            numbers[unsure] = _settle(vectors[unsure], codes, numbers[unsure], similarity, at_once)
        return numbers


def _rounding(codes: Tensor, factor: int) -> float:
    """Return `factor` times the greatest rounding of a score z.c - |c|^2 / 2, in units of `_magnitude`.

    A sum of d + 1 products is off by at most d + 1 roundings in any order; centring and lengths cost the others.
    """
    return factor * (codes.shape[1] + 8) * torch.finfo(codes.dtype).eps / 2


def _magnitude(size: Tensor, length: Tensor, largest: Tensor, similarity: Similarity) -> Tensor:
    """Return the scale of the scores of all codes that could be nearer to vectors of norm `size` than codes of `length`."""
    if similarity == "dot":
        return size * largest
    # |c| <= |z| + |z - c| <= |z| + |z - found| <= 2 |z| + |found|: codes far outside put no row in doubt.
    reach = torch.minimum(2 * size + length, largest)
    return reach * (size + reach)


def _chunks(count: int, codes: int, at_once: int) -> tuple[int, int]:
    rows = max(1, min(count, ROWS, at_once // min(codes, 4096)))
    columns = max(1, min(at_once // rows, COLUMNS))
    return rows, columns - columns % min(BLOCK, columns)


def _search(vectors: Tensor, codes: Tensor, offsets: Tensor, at_once: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each vector the greatest z.c + offset, the number of its code, and the second greatest."""
    rows, columns = _chunks(len(vectors), len(codes), at_once)
    block = min(BLOCK, columns)
    space = vectors.new_empty(rows * min(columns, len(codes) + block))
    tables = list(zip(codes.split(columns), offsets.unsqueeze(1).split(columns), strict=True))
    parts = []
    for z in vectors.split(rows):
        everyone = torch.arange(len(z), device=z.device)
        for chunk, (table, offset) in enumerate(tables):
            padded = len(table) + -len(table) % block
            products = space[: padded * len(z)].view(padded, len(z))
            torch.addmm(offset, table, z.T, out=products[: len(table)])
            if padded > len(table):
                products[len(table) :] = -torch.inf
            greatest, place, others = _greatest(products.view(padded // block, block, len(z)), everyone)
            if chunk == 0:
                best, number, second = greatest, place, others
                continue
            second = second.maximum(best.minimum(greatest)).maximum(others)
            number = torch.where(greatest > best, place + chunk * columns, number)
            best = best.maximum(greatest)
        parts.append((best, number, second))
    bests, numbers, seconds = zip(*parts, strict=True)
    return torch.cat(bests), torch.cat(numbers), torch.cat(seconds)


def _greatest(blocks: Tensor, everyone: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the greatest product of each vector, its place among the codes, and the second greatest.

    A maximum comes cheap and its place does not, so that the place is looked for in the best block alone.
    """
    tops = blocks.amax(dim=1)
    best, where = tops.max(dim=0)
    inside = blocks[where, :, everyone]
    place = inside.max(dim=1).indices  # half the time of argmax
    others = tops.scatter_(0, where.unsqueeze(0), -torch.inf).amax(dim=0)
    within = inside.scatter_(1, place.unsqueeze(1), -torch.inf).amax(dim=1)
    return best, where * blocks.shape[1] + place, others.maximum(within)


def _settle(vectors: Tensor, codes: Tensor, guess: Tensor, similarity: Similarity, at_once: int) -> Tensor:
    """Return the numbers of the nearest codes by float64 alone, where `guess` are codes that are near."""
    if vectors.device.type == "mps":  # has no float64
        return _settle(vectors.cpu(), codes.cpu(), guess.cpu(), similarity, at_once).to(vectors.device)
    rows, columns = _chunks(len(vectors), len(codes), at_once)
    columns = min(columns, pairs := max(1, DISTANCES_AT_ONCE // codes.shape[1]))
    largest = torch.linalg.vector_norm(codes, dim=1).max()
    parts = []
    for part, guessed in zip(vectors.split(rows), codes[guess].split(rows), strict=True):
        size, length = (torch.linalg.vector_norm(rows, dim=1) for rows in (part, guessed))
        part = part.double()
        slack = _rounding(part, 32) * _magnitude(size, length, largest, similarity).double()
        best, least = torch.full_like(slack, -torch.inf), torch.full_like(slack, torch.inf)
        numbers = torch.zeros_like(slack, dtype=torch.int64)
        for start in range(0, len(codes), columns):
            table = codes[start : start + columns].double()
            products = part @ table.T
            if similarity != "dot":
                products -= torch.linalg.vector_norm(table, dim=1).square() / 2
            best = best.maximum(products.amax(dim=1))
            # Codes that rounding could have put behind the best one, compared directly.
            row, column = (products >= (best - slack).unsqueeze(1)).nonzero(as_tuple=True)
            for i, j in zip(row.split(pairs), column.split(pairs), strict=True):
                distance = _sums(-part[i] * table[j] if similarity == "dot" else (part[i] - table[j]).square())
                now = least.scatter_reduce(0, i, distance, "amin")
                nearest = distance == now[i]
                lowest = torch.full_like(numbers, len(codes)).scatter_reduce(0, i[nearest], j[nearest] + start, "amin")
                numbers, least = torch.where(now < least, lowest, numbers), now
        parts.append(numbers)
    return torch.cat(parts)


def _sums(terms: Tensor) -> Tensor:
    """Sum each row by halves: the same bits on any device and for any number of rows."""
    while terms.shape[1] > 1:
        terms = functional.pad(terms, (0, terms.shape[1] % 2))
        terms = terms[:, ::2] + terms[:, 1::2]
    return terms[:, 0]


@contextmanager
def _full_precision() -> Iterator[None]:
    """Multiply float32 matrices in float32: tf32 and bfloat16, which users may have allowed, would exceed `_rounding`."""
    try:
        allowed = torch.get_float32_matmul_precision()
    except RuntimeError:  # raised where fp32_precision was set directly, which leaves this setting at its default
        allowed = "highest"
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


@cache
def _kernel() -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]] | None:
    """Return the CUDA kernel, or none where triton is not installed."""
    try:
        from .nearest_triton import greatest_products
    except ImportError:
        return None
    return greatest_products
