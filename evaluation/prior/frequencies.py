"""Frequencies of symbols as the first guess of a prior, smoothed by what the counts themselves suggest."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .symbols import Alphabet, Symbols

CONCENTRATIONS = torch.logspace(-3, 5, 33, dtype=torch.float64)
"""Numbers of tokens that each code may be given beforehand."""


def log_frequencies(alphabet: Alphabet, images: Sequence[Symbols]) -> Tensor:
    """Return the log of the smoothed frequency of each value of each slot, float32, slot after slot."""
    count = len(alphabet.slots)
    logs = []
    for index, slot in enumerate(alphabet.slots):
        counts = sum(torch.bincount(image.values[index::count], minlength=slot.size) for image in images)
        logs.append(_smoothed(torch.as_tensor(counts).double()).log())
    return torch.cat(logs).float()


def frequency_bits(alphabet: Alphabet, logs: Tensor, images: Sequence[Symbols]) -> list[float]:
    """Return the bits of each image under the frequencies of `log_frequencies`, which know no other symbol but the digits
    before it, where these leave only some values."""
    totals = []
    for image in images:
        values = image.values.reshape(1, -1, len(alphabet.slots))
        lasts, nats = alphabet.last_values(values), 0.0
        for index, slot in enumerate(alphabet.slots):
            chances = logs[slot.offset : slot.offset + slot.size].double().exp()
            allowed = chances.cumsum(dim=0)[lasts[0, :, index]]
            nats -= float((chances[values[0, :, index]] / allowed).log().sum())
        totals.append(nats / math.log(2))
    return totals


def _smoothed(counts: Tensor) -> Tensor:
    """Return (n_k + a) / (N + K a), with the a under which the counts are most probable if frequencies are Dirichlet(a)."""
    a = CONCENTRATIONS
    total, codes = counts.sum(), len(counts)
    values, numbers = counts.unique(return_counts=True)
    each = torch.lgamma(values + a[:, None]) - torch.lgamma(a)[:, None]
    evidence = torch.lgamma(codes * a) - torch.lgamma(total + codes * a) + (each * numbers).sum(dim=1)
    best = a[evidence.argmax()]
    return (counts + best) / (total + codes * best)
