"""Nearest-code search: one function for every quantizer that has a table of codes."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from ..shapes import CodeNumbers, Codes, Vectors

Similarity: TypeAlias = Literal["euclidean", "cosine"]

DISTANCES_AT_ONCE = 1 << 20
"""Float32 distances held in memory at a time (4 MB: about the cache of a core)."""


def normalise(vectors: Tensor, similarity: Similarity) -> Tensor:
    """Put rows onto the unit sphere when they are compared by cosine; leave them as they are otherwise."""
    return functional.normalize(vectors, dim=-1) if similarity == "cosine" else vectors


@torch.no_grad()
def nearest_codes(vectors: Vectors, codes: Codes, at_once: int = DISTANCES_AT_ONCE) -> CodeNumbers:
    """Return for each vector the number of its nearest code by euclidean distance; a tie goes to the lowest number.

    On the unit sphere (`normalise`) that is the nearest by cosine too.

    Distances are float32 under any autocast: in bfloat16 several per cent of the tokens change. Never more than
    `at_once` of them exist, and the result does not depend on `at_once`.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        codes = codes.float()
        vectors = vectors.float()
        # |z - c|^2 = |z|^2 - 2 (z.c - |c|^2 / 2): the nearest code has the greatest bracket. Both are taken from the
        # codes' mean, so that a common offset of vectors and codes does not cost digits.
        centre = codes.mean(dim=0)
        codes = codes - centre
        half_norms = codes.square().sum(dim=1) / 2
        vectors = vectors - centre
        rows = max(1, min(len(vectors), at_once // min(len(codes), 4096)))
        columns = max(1, at_once // rows)
        return torch.cat([_search(part, codes, half_norms, columns) for part in vectors.split(rows)])


def _search(vectors: Vectors, codes: Codes, half_norms: Tensor, columns: int) -> CodeNumbers:
    best_score = torch.full((len(vectors),), -torch.inf, device=vectors.device)
    best = torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)
    for start in range(0, len(codes), columns):
        part = slice(start, start + columns)
        score, index = torch.addmm(half_norms[part], vectors, codes[part].T, beta=-1).max(dim=1)
        better = score > best_score
        best_score = torch.where(better, score, best_score)
        best = torch.where(better, index + start, best)
    return best
