"""k-means: starts that are far apart (k-means++), then Lloyd's algorithm.

A function of its arguments alone: given the same vectors and a generator in the same state, every process finds the same
centres, bit for bit. Sums and draws are therefore made on the CPU, in float64 and in the order of the vectors, because a
CUDA device adds in an order of its own each time.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from ...shapes import Codes, Vectors
from ..scale import scale_to_one
from ..search.nearest import nearest_codes

BATCH = 8
"""A round adds one start for every so many found before, at least one: a round that knows only one start has hardly a
candidate in a cluster next to it."""
CANDIDATES = 4
"""Candidates that a round draws for every start that it adds."""
MIN_CANDIDATES = 1024
TRIALS = 5
"""Draws of which the best becomes the next start; two in a round of LARGE_ROUND starts or more, where time counts."""
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
    count. With fewer distinct vectors than clusters, some centres are equal. `generator` lives on the CPU. Raises
    ValueError when there are fewer vectors than clusters.
    """
    vectors = vectors.detach().float()
    vectors = vectors[vectors.isfinite().all(dim=1)]
    if len(vectors) < clusters:
        raise ValueError(f"k-means got {len(vectors)} vectors for {clusters} codes: give at least one vector a code.")
    scale = scale_to_one(vectors)
    vectors = vectors * scale
    centres = far_starts(vectors, clusters, generator)
    addends = vectors.cpu().double()
    for done in range(1, iterations + 1):
        numbers = nearest_codes(vectors, centres)
        counts = torch.bincount(numbers.cpu(), minlength=clusters)
        sums = addends.new_zeros(centres.shape).index_add_(0, numbers.cpu(), addends)
        empty = (counts == 0).to(centres.device)
        squared = _squared(vectors, centres[numbers])
        centres = (sums / counts.clamp_min(1).unsqueeze(1)).to(centres)
        if wanted := int(empty.sum()):
            centres[empty] = _further(vectors, squared, wanted, generator)
        report(done)
    return centres / scale


def far_starts(vectors: Vectors, count: int, generator: Generator) -> Codes:
    """Return `count` of the vectors, each drawn in proportion to its squared distance to those before.

    Drawn one by one, 65,536 starts would be compared with all vectors one by one. So they come in rounds, which grow with
    the number of starts: a round draws candidates in proportion to the squared distance, and chooses among them as
    k-means++ would among all. Every vector is compared with every start once, as in one step of Lloyd's algorithm, and
    memory is that of the vectors and of one round.
    """
    first = vectors[torch.randint(len(vectors), (1,), generator=generator).to(vectors.device)]
    return torch.cat([first, _further(vectors, _squared(vectors, first), count - 1, generator)])


def _further(vectors: Vectors, squared: Tensor, count: int, generator: Generator) -> Codes:
    """Return `count` vectors far from the centres that there are, `squared` being the squared distances to them (` n`)."""
    squared = squared.cpu().double()
    chosen = torch.zeros(0, dtype=torch.int64)
    while len(chosen) < count:
        wanted = min(max(1, len(chosen) // BATCH), count - len(chosen))
        if float(squared.sum()) <= 0:  # every vector is where a centre is
            added = torch.randint(len(vectors), (wanted,), generator=generator)
        else:
            added = _round(vectors, squared, wanted, generator)
            places = vectors[added.to(vectors.device)]
            nearest = places[nearest_codes(vectors, places)]
            squared = torch.minimum(squared, _squared(vectors, nearest).cpu().double())
        chosen = torch.cat([chosen, added])
    return vectors[chosen.to(vectors.device)]


def _round(vectors: Vectors, squared: Tensor, wanted: int, generator: Generator) -> Tensor:
    """Return the numbers of up to `wanted` vectors, at least one, drawn as k-means++ draws."""
    drawn = _draw(squared, max(MIN_CANDIDATES, CANDIDATES * wanted), generator)
    candidates, before = vectors[drawn.to(vectors.device)].cpu(), squared[drawn].float()
    # Candidates stand for equal parts of the sum of squares; of a part, what the starts of this round leave is `left`.
    left = torch.ones(len(drawn))
    trials = TRIALS if wanted < LARGE_ROUND else 2
    chosen: list[Tensor] = []
    while len(chosen) < wanted and float(left.sum()) > 0:
        tried = _draw(left.double(), trials, generator)
        remaining = torch.minimum(left, _all_squared(candidates[tried], candidates) / before)
        best = remaining.sum(dim=1).argmin()
        left = remaining[best]
        left[tried[best]] = 0.0
        chosen.append(drawn[tried[best]])
    return torch.stack(chosen)


def _draw(weights: Tensor, count: int, generator: Generator) -> Tensor:
    """Return `count` numbers, each drawn in proportion to its weight (float64, not all 0)."""
    ends = weights.cumsum(dim=0)
    # Places in (0, sum], so that a weight of 0 is never drawn.
    places = (1 - torch.rand(count, generator=generator, dtype=torch.float64)) * ends[-1]
    return torch.searchsorted(ends, places).clamp_max(len(weights) - 1)


def _all_squared(few: Tensor, many: Tensor) -> Tensor:
    # Without products, which leave a rest between equal vectors.
    return torch.cdist(few, many, compute_mode="donot_use_mm_for_euclid_dist").square()


def _squared(vectors: Tensor, others: Tensor) -> Tensor:
    return (vectors - others).square().sum(dim=1)
