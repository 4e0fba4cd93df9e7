"""Care of a codebook: k-means initialisation and the revival of dead codes.

Both are functions of their arguments alone: given the same vectors and a generator in the same state, every process sets the
same codes, bit for bit. Both go through `Codebook.replace`, which resets the statistics that belong to a code.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from ..shapes import Codes, Vectors
from .codebooks import Codebook
from .nearest import nearest_codes


def kmeans(
    vectors: Vectors,
    clusters: int,
    iterations: int,
    generator: Generator,
    report: Callable[[int], None] = lambda _: None,
) -> Codes:
    """Return centres after Lloyd's algorithm from randomly chosen vectors; an empty cluster moves to a random vector.

    `generator` lives on the CPU, where the means are taken too: in float64 and in the order of the vectors, because a CUDA
    device adds in an order of its own each time. Raises ValueError when there are fewer vectors than clusters.
    """
    if len(vectors) < clusters:
        raise ValueError(f"k-means got {len(vectors)} vectors for {clusters} codes: give at least one vector a code.")
    vectors = vectors.detach().float()
    centres = _sample(vectors, clusters, generator)
    addends = vectors.cpu().double()
    for done in range(1, iterations + 1):
        numbers = nearest_codes(vectors, centres).cpu()
        counts = torch.bincount(numbers, minlength=clusters)
        sums = addends.new_zeros(centres.shape).index_add_(0, numbers, addends)
        empty = (counts == 0).to(centres.device)
        centres = (sums / counts.clamp_min(1).unsqueeze(1)).to(centres)
        centres[empty] = _sample(vectors, int(empty.sum()), generator)
        report(done)
    return centres


def initialise_codes(
    codebook: Codebook,
    vectors: Vectors,
    iterations: int,
    generator: Generator,
    report: Callable[[int], None] = lambda _: None,
) -> None:
    """Set all codes to k-means centres of `vectors`; `report` is told how many iterations are done."""
    centres = kmeans(vectors, len(codebook.codes()), iterations, generator, report)
    codebook.replace(torch.arange(len(centres), device=centres.device), centres)


def revive_codes(codebook: Codebook, counts: Tensor, vectors: Vectors, generator: Generator) -> Tensor:
    """Set the codes that `counts` (` k`) says are unused to random vectors, and return their numbers.

    The caller must also clear what its optimizer remembers of them. With fewer vectors than dead codes, as many codes
    as there are vectors are revived.
    """
    dead = (counts == 0).nonzero().flatten()[: len(vectors)]
    if len(dead):
        codebook.replace(dead, _sample(vectors.detach().float(), len(dead), generator))
    return dead


def _sample(vectors: Vectors, count: int, generator: Generator) -> Codes:
    chosen = torch.randperm(len(vectors), generator=generator)[:count]
    return vectors[chosen.to(vectors.device)]
