"""Care of a codebook: k-means initialisation and the revival of dead codes.

Both are functions of their arguments alone: given the same vectors and a generator in the same state, every process sets the
same codes, bit for bit. Both go through `Codebook.replace`, which resets the statistics that belong to a code.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from ...shapes import Codes, Vectors
from .codebooks import Codebook
from .kmeans import kmeans


def can_set_codes(quantizer: nn.Module) -> bool:
    """Return whether the codes of a quantizer, of all its codebooks, can be set one by one."""
    codebooks = [module for module in quantizer.modules() if isinstance(module, Codebook)]
    return bool(codebooks) and all(codebook.can_replace for codebook in codebooks)


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
