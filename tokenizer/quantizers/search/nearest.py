"""Nearest-code search: one function for every quantizer that has a table of codes."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ...shapes import CodeIndices, Codes, Vectors
from . import operation
from .certified import centred, offsets_of
from .exported import is_exporting, nearest_by_product

Similarity: TypeAlias = Literal["euclidean", "cosine", "dot"]


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
    bounded by a chunk, or on CUDA by vectors plus codes, never by vectors times codes. Autocast has no effect.

    With `exact` the code is that of a search in float64, whatever the matrix precision, the device and the other rows. A
    faster search also finds the runner-up; where its rounding could have swapped the two, float64 decides. A row that is not
    finite gets code 0. On a CUDA device nothing waits; without kernels for it (`has_tensor_cores`), this does.

    Where a row is longer than the codes by a factor of about 1e16, a CPU and CUDA may choose different codes: float64
    differences, which CUDA takes, no longer show the codes, while the products that a CPU takes first still do.

    Without it, the faster search has the last word and waits nowhere: accurate enough for training. It can skip the codes
    `excluded`, booleans ` k`; where all are, the index means nothing. So it is in a program that `torch.export` makes, exact
    or not, since what float64 would decide depends on the values. `torch.compile` takes the search as one operation.
    """
    assert excluded is None or not exact
    is_dot = similarity == "dot"
    with torch.autocast(vectors.device.type, enabled=False):
        vectors, codes = vectors.float(), codes.float()
        if is_exporting():
            points, table = centred(vectors, codes, is_dot)
            return nearest_by_product(points, table, offsets_of(table, is_dot))
        search = operation.nearest_codes if torch.compiler.is_compiling() else operation.nearest
        return search(vectors, codes, is_dot, exact, excluded)
