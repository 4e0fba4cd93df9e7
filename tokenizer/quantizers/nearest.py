"""Nearest-code search: one function for every quantizer that has a table of codes."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from ..shapes import CodeNumbers, Codes, Vectors

Similarity: TypeAlias = Literal["euclidean", "cosine", "dot"]

DISTANCES_AT_ONCE = 1 << 20
"""Float32 distances held in memory at a time (4 MB: about the cache of a core)."""


def normalise(vectors: Tensor, similarity: Similarity) -> Tensor:
    """Put rows onto the unit sphere when they are compared by cosine; leave them as they are otherwise."""
    return functional.normalize(vectors, dim=-1) if similarity == "cosine" else vectors


def scores(vectors: Vectors, codes: Codes, similarity: Similarity) -> Tensor:
    """Return `n k`, greatest for the nearest code: -|z - c|^2, or the dot product of rows that `normalise` gave."""
    products = vectors @ codes.T
    if similarity != "euclidean":
        return products
    return 2 * products - vectors.square().sum(dim=1, keepdim=True) - codes.square().sum(dim=1)


@torch.no_grad()
def nearest_codes(
    vectors: Vectors, codes: Codes, similarity: Similarity = "euclidean", at_once: int = DISTANCES_AT_ONCE
) -> CodeNumbers:
    """Return for each vector the number of its nearest code; a tie goes to the lowest number.

    Rows compared by cosine must be on the unit sphere (`normalise`), where the nearest by distance is the nearest by
    cosine. Distances are float32 under any autocast: in bfloat16 several per cent of the tokens change. Never more than
    `at_once` of them exist, and the result does not depend on `at_once`. On a CUDA device one kernel searches and keeps
    no distance at all.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        vectors, codes = as_products(vectors.float(), codes.float(), similarity)
        if vectors.is_cuda:
            from .nearest_triton import greatest_products  # needs triton, which only CUDA builds of torch bring along

            return greatest_products(vectors, codes)
        rows = max(1, min(len(vectors), at_once // min(len(codes), 4096)))
        columns = max(1, at_once // rows)
        transposed = codes.T.contiguous()
        return torch.cat([_search(part, transposed, columns) for part in vectors.split(rows)])


def as_products(vectors: Tensor, codes: Tensor, similarity: Similarity) -> tuple[Tensor, Tensor]:
    """Return vectors and codes such that the nearest code has the greatest dot product, with one more channel if need be."""
    if similarity == "dot":
        return vectors, codes
    # |z - c|^2 = |z|^2 - 2 (z.c - |c|^2 / 2), the last term as a channel that is 1 in every vector. Both are taken from the
    # codes' mean, so that a common offset of vectors and codes does not cost digits.
    centre = codes.mean(dim=0)
    codes = codes - centre
    offsets = codes.square().sum(dim=1, keepdim=True) / -2
    ones = torch.ones(len(vectors), 1, device=vectors.device)
    return torch.cat([vectors - centre, ones], dim=1), torch.cat([codes, offsets], dim=1)


def _search(vectors: Tensor, transposed: Tensor, columns: int) -> Tensor:
    best_score, best = torch.mm(vectors, transposed[:, :columns]).max(dim=1)
    for start in range(columns, transposed.shape[1], columns):
        score, index = torch.mm(vectors, transposed[:, start : start + columns]).max(dim=1)
        better = score > best_score
        best_score = torch.where(better, score, best_score)
        best = torch.where(better, index + start, best)
    return best
