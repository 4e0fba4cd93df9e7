"""k-means: starts that are far apart (k-means++), then Lloyd's algorithm.

Sums and draws are made on the CPU, in float64 and in the order of the vectors, so that a repeated run finds the same centres.
A CUDA device adds in another order each time.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from ...shapes import Codes, Vectors
from ..scale import scale_to_one
from ..search.nearest import nearest_codes

BATCH = 8
"""A round adds one start per BATCH found before, at least one: knowing only one start, it draws hardly any candidate from a
cluster next to that one."""
CANDIDATES = 4
"""Candidates that a round draws per start that it adds."""
MIN_CANDIDATES = 1024
TRIALS = 5
"""Draws for the next start, which is the best of them; 2 in rounds of LARGE_ROUND starts or more, to save time."""
LARGE_ROUND = 256


def kmeans(
    vectors: Vectors,
    clusters: int,
    iterations: int,
    generator: Generator,
    report: Callable[[int], None] = lambda _: None,
) -> Codes:
    """Return centres `clusters d` after Lloyd's algorithm from the starts of k-means++ (Arthur and Vassilvitskii 2007).

    An empty cluster moves to a vector far from its centre, drawn as the starts are. Vectors that are not finite do not
    count. With fewer distinct vectors than clusters, some centres are equal. `generator` is on the CPU; `report` gets the
    number of iterations done. Raises ValueError when there are fewer vectors than clusters.
    """
    vectors = usable_vectors(vectors, clusters)
    scale = scale_to_one(vectors)
    vectors = vectors * scale
    centres = far_starts(vectors, clusters, generator)
    addends = vectors.cpu().double()
    for done in range(1, iterations + 1):
        indices = nearest_codes(vectors, centres, exact=False)
        counts = torch.bincount(indices.cpu(), minlength=clusters)
        sums = addends.new_zeros(centres.shape).index_add_(0, indices.cpu(), addends)
        empty = (counts == 0).to(centres.device)
        squared = _squared(vectors, centres[indices])
        centres = (sums / counts.clamp_min(1).unsqueeze(1)).to(centres)
        if wanted := int(empty.sum()):
            centres[empty] = _further(vectors, squared, wanted, generator)
        report(done)
    return centres / scale


def usable_vectors(vectors: Vectors, clusters: int) -> Tensor:
    """Return the finite vectors, in float32; raise ValueError when there are fewer than clusters."""
    vectors = vectors.detach().float()
    vectors = vectors[vectors.isfinite().all(dim=1)]
    if len(vectors) < clusters:
        raise ValueError(f"k-means got {len(vectors)} vectors for {clusters} codes: give at least one vector per code.")
    return vectors


def far_starts(vectors: Vectors, count: int, generator: Generator) -> Codes:
    """Return `count` of the vectors, each drawn in proportion to its squared distance to those drawn before.

    To save time the starts come in rounds, which grow with the number of starts. A round draws candidates in proportion to
    the squared distance, and chooses among them as k-means++ would among all. So every vector is compared with every start
    once, as in one step of Lloyd's algorithm, and memory is that of the vectors and one round.
    """
    first = vectors[torch.randint(len(vectors), (1,), generator=generator).to(vectors.device)]
    return torch.cat([first, _further(vectors, _squared(vectors, first), count - 1, generator)])


def _further(vectors: Vectors, squared: Tensor, count: int, generator: Generator) -> Codes:
    """Return `count` vectors far from the present centres; `squared` are the squared distances to these, ` n`."""
    squared = squared.cpu().double()
    chosen = torch.zeros(0, dtype=torch.int64)
    while len(chosen) < count:
        wanted = min(max(1, len(chosen) // BATCH), count - len(chosen))
        if float(squared.sum()) <= 0:  # every vector is where a centre is
            added = torch.randint(len(vectors), (wanted,), generator=generator)
        else:
            added = _round(vectors, squared, wanted, generator)
            starts = vectors[added.to(vectors.device)]
            nearest = starts[nearest_codes(vectors, starts, exact=False)]
            squared = torch.minimum(squared, _squared(vectors, nearest).cpu().double())
        chosen = torch.cat([chosen, added])
    return vectors[chosen.to(vectors.device)]


def _round(vectors: Vectors, squared: Tensor, wanted: int, generator: Generator) -> Tensor:
    """Return the indices of up to `wanted` vectors, at least one, drawn as k-means++ draws."""
    drawn = _draw(squared, max(MIN_CANDIDATES, CANDIDATES * wanted), generator)
    candidates, before = vectors[drawn.to(vectors.device)].cpu(), squared[drawn].float()
    # Each candidate represents an equal part of the sum of squares; `left` is what the starts of this round leave of it.
    left = torch.ones(len(drawn))
    trials = TRIALS if wanted < LARGE_ROUND else 2
    chosen: list[Tensor] = []
    while len(chosen) < wanted and float(left.sum()) > 0:
        tried = _draw(left.double(), trials, generator)
        # By differences, since products would leave a distance between equal vectors.
        distances = torch.cdist(candidates[tried], candidates, compute_mode="donot_use_mm_for_euclid_dist")
        remaining = torch.minimum(left, distances.square() / before)
        best = remaining.sum(dim=1).argmin()
        left = remaining[best]
        left[tried[best]] = 0.0
        chosen.append(drawn[tried[best]])
    return torch.stack(chosen)


def _draw(weights: Tensor, count: int, generator: Generator) -> Tensor:
    """Return `count` indices, each drawn in proportion to its weight (float64, not all 0)."""
    ends = weights.cumsum(dim=0)
    # Uniform in (0, sum], so that a weight of 0 is never drawn.
    points = (1 - torch.rand(count, generator=generator, dtype=torch.float64)) * ends[-1]
    return torch.searchsorted(ends, points).clamp_max(len(weights) - 1)


def _squared(vectors: Tensor, others: Tensor) -> Tensor:
    return (vectors - others).square().sum(dim=1)
