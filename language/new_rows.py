"""Rows for new ids of an embedding or a head, which have the mean and the covariance of the old rows.

Rows of that distribution give the new ids logits like those of text, where small random rows, as layers are usually
initialised, can take all probability (Hewitt, "Initializing New Word Embeddings for Pretrained Language Models", 2021).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

CHUNK = 8192
"""Rows that are in float32 at a time."""
JITTER = 1e-6
"""What is added to the variances, relative to their mean: fewer rows than columns have no full covariance."""


class Statistics(NamedTuple):
    """The mean `d` of rows, and a factor `d d` whose product with its transpose is their covariance; both float32."""

    mean: Tensor
    factor: Tensor


def statistics_of(rows: Tensor) -> Statistics:
    """Return the statistics of rows `n d` of any floating type, computed on their device."""
    mean = sum(chunk.sum(dim=0, dtype=torch.float64) for chunk in rows.split(CHUNK)) / len(rows)
    covariance = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64, device=rows.device)
    for chunk in rows.split(CHUNK):
        centred = (chunk.double() - mean).float()
        covariance += centred.T @ centred
    covariance /= len(rows)
    covariance.diagonal().add_(JITTER * covariance.diagonal().mean() + torch.finfo(torch.float64).tiny ** 0.5)
    return Statistics(mean.float(), torch.linalg.cholesky(covariance).float())


def drawn_rows(statistics: Statistics, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield chunks of `count` rows from the normal distribution of these statistics. The generator is one of the CPU."""
    mean, factor = statistics
    for start in range(0, count, CHUNK):
        noise = torch.randn(min(CHUNK, count - start), len(mean), generator=generator)
        yield mean + noise.to(mean.device) @ factor.T


def projected_rows(statistics: Statistics, codes: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield chunks of a row for each code of a codebook `k c`: near codes get near rows.

    The codes are projected at random. The mean and the total variance of the rows are exactly those of the statistics. Their
    covariance has the rank of the codes, and is about that of the statistics on average over projections.
    """
    mean, factor = statistics
    codes = codes.double()
    centred = codes - codes.mean(dim=0)
    projection = torch.randn(codes.shape[1], len(mean), generator=generator, dtype=torch.float64).to(codes.device)
    mixed = projection @ factor.T.to(codes)
    variance = (mixed @ mixed.T * (centred.T @ centred)).sum() / len(codes)  # the trace, without the rows
    mixed *= (factor.double().square().sum().to(codes) / variance).sqrt()
    for chunk in centred.split(CHUNK):
        yield mean + (chunk @ mixed).to(mean)
