"""In which order the codes of an image come."""

import torch

from ..modality import Modality
from .slots import Grid, Slots, codes


def interleaved(modality: Modality, grid: Grid) -> Slots:
    """Return position after position, row by row, with the codes of all codebooks together at each."""
    source, codebook = _indices(modality, grid)
    return codes(modality, source.T, codebook.T)


def flattened(modality: Modality, grid: Grid) -> Slots:
    """Return codebook after codebook, each row by row."""
    return codes(modality, *_indices(modality, grid))


def _indices(modality: Modality, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the index of each token and its codebook, `q (y x)`."""
    count, area = modality.num_codebooks, grid.y * grid.x
    source = torch.arange(count * area).reshape(count, area)
    return source, torch.arange(count)[:, None].expand(count, area)
