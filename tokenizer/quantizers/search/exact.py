"""What makes the nearest-code search exact: the rows that rounding leaves in doubt, and how these are settled."""

import torch
from torch import Tensor
from torch.nn import functional

from .chunked import DISTANCES_AT_ONCE, chunk_for

Found = tuple[Tensor, Tensor, Tensor]
"""The greatest z.c - |c|^2 / 2 of each vector, the number of its code, and the second greatest."""


MANY = 4
"""Codes in doubt of a vector from which on it is worth to look for equal ones among them."""


def half_squares(lengths: Tensor, is_dot: bool) -> Tensor:
    """Return what is added to the product with each code so that the greatest sum is that of the nearest code."""
    return torch.zeros_like(lengths) if is_dot else lengths.square() / -2


def in_doubt(found: Found, vectors: Tensor, lengths: Tensor, is_dot: bool) -> Tensor:
    """Return for each row, ` n`, whether rounding could have swapped the greatest and the second greatest."""
    best, _, second = found
    return ~(best - second > 2 * _rounding(found, vectors, lengths, is_dot))


def _rounding(found: Found, vectors: Tensor, lengths: Tensor, is_dot: bool) -> Tensor:
    """Return the most by which the score of a code that could be nearer than the one found may be off.

    A sum of d + 1 products is off by at most d + 1 roundings in any order; centring and lengths cost the others. Below the
    smallest normal number a rounding is no longer relative.
    """
    size, largest = torch.linalg.vector_norm(vectors, dim=1), lengths.max()
    if is_dot:
        scale = size * largest
    else:
        # |c| <= |z| + |z - c| <= |z| + |z - found| <= 2 |z| + |found|: codes far outside put no row in doubt.
        reach = torch.minimum(2 * size + lengths[found[1]], largest)
        scale = reach * (size + reach)
    number = torch.finfo(vectors.dtype)
    return (vectors.shape[1] + 8) * (number.eps / 2 * scale + number.smallest_normal)


def settle(vectors: Tensor, codes: Tensor, is_dot: bool, at_once: int) -> Tensor:
    """Return the numbers of the nearest codes by float64, and by differences where float64 leaves a doubt."""
    if vectors.device.type == "mps":  # has no float64
        return settle(vectors.cpu(), codes.cpu(), is_dot, at_once).to(vectors.device)
    vectors, lengths = vectors.double(), torch.linalg.vector_norm(codes, dim=1, dtype=torch.float64)
    found = _two_greatest(vectors, codes, half_squares(lengths, is_dot), at_once)
    _, numbers, _ = found
    if len(unsure := in_doubt(found, vectors, lengths, is_dot).nonzero().flatten()):
        floor = found[0] - 16 * _rounding(found, vectors, lengths, is_dot)
        numbers[unsure] = _compared(vectors[unsure], codes, floor[unsure], is_dot, at_once)
    return numbers


def _two_greatest(vectors: Tensor, codes: Tensor, offsets: Tensor, at_once: int) -> Found:
    """Do what `greatest_products` does, in fewer steps, which is faster where vectors are few."""
    chunk = chunk_for(len(vectors), len(codes), at_once)
    rows, columns = chunk.rows, chunk.codes
    parts = []
    for z in vectors.split(rows):
        scores, places = [z.new_full((len(z), 1), -torch.inf)], [z.new_zeros((len(z), 1), dtype=torch.int64)]
        for start in range(0, len(codes), columns):
            table, offset = codes[start : start + columns], offsets[start : start + columns]
            score, place = torch.addmm(offset, z, table.to(z.dtype).T).topk(min(2, len(table)))
            scores.append(score)
            places.append(place + start)
        two, where = torch.cat(scores, dim=1).topk(2)
        parts.append((two[:, 0], torch.cat(places, dim=1).gather(1, where)[:, 0], two[:, 1]))
    best, numbers, second = (torch.cat(values) for values in zip(*parts, strict=True))
    return best, numbers, second


def _compared(vectors: Tensor, codes: Tensor, floor: Tensor, is_dot: bool, at_once: int) -> Tensor:
    """Return the numbers of the nearest codes, of those whose score reaches `floor`, by sums of their own."""
    chunk = chunk_for(len(vectors), len(codes), at_once)
    rows, columns = chunk.rows, chunk.codes
    columns = min(columns, pairs := max(1, DISTANCES_AT_ONCE // codes.shape[1]))
    parts = []
    for part, least_score in zip(vectors.split(rows), floor.split(rows), strict=True):
        least = torch.full_like(least_score, torch.inf)
        numbers = torch.zeros_like(least, dtype=torch.int64)
        for start in range(0, len(codes), columns):
            table = codes[start : start + columns].double()
            products = part @ table.T + half_squares(torch.linalg.vector_norm(table, dim=1), is_dot)
            row, column = (products >= least_score.unsqueeze(1)).nonzero(as_tuple=True)
            if len(row) > MANY * len(part):
                is_first = _first_of_equals(table)[column]
                row, column = row[is_first], column[is_first]
            for i, j in zip(row.split(pairs), column.split(pairs), strict=True):
                distance = _sums(-part[i] * table[j] if is_dot else (part[i] - table[j]).square())
                now = least.scatter_reduce(0, i, distance, "amin")
                nearest = distance == now[i]
                lowest = torch.full_like(numbers, len(codes)).scatter_reduce(0, i[nearest], j[nearest] + start, "amin")
                numbers, least = torch.where(now < least, lowest, numbers), now
        parts.append(numbers)
    return torch.cat(parts)


def _first_of_equals(rows: Tensor) -> Tensor:
    """Return for each row whether no row before it is equal."""
    kinds, kind = torch.unique(rows, dim=0, return_inverse=True)
    places = torch.arange(len(rows), device=rows.device)
    return places == torch.full_like(places[: len(kinds)], len(rows)).scatter_reduce(0, kind, places, "amin")[kind]


def _sums(terms: Tensor) -> Tensor:
    """Sum each row by halves: the same bits on any device and for any number of rows."""
    half = 1 << (terms.shape[1] - 1).bit_length()
    terms = functional.pad(terms, (0, half - terms.shape[1]))
    while half := half // 2:
        terms = terms[:, :half] + terms[:, half:]
    return terms[:, 0]
