"""How the codes of a vector quantizer are parameterised and updated."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, distributed, nn

from ...shapes import CodeIndices, Codes, Vectors

FAINT = 1e-20
"""Count below which it does not decay further, because float32 would round the ratio of sum and count."""
MIN_COUNT = 1e-5
"""Least weight of a code that is set, so that it does not leave its place at the first vector."""


class Codebook(nn.Module, ABC):
    """A table of codes `k d`."""

    learns_from_loss: bool
    """Whether the codes move by gradients."""
    can_replace: bool
    """Whether single codes can be set, as k-means initialisation and revival do."""

    @abstractmethod
    def codes(self) -> Codes:
        """Return the table in float32, with its gradient where it has one."""

    @abstractmethod
    def observe(self, vectors: Vectors, numbers: CodeIndices) -> None:
        """Take note of vectors and their nearest codes; called on every rank once a training forward that records gradients,
        whether levels or groups share the codebook or not.
        """

    @abstractmethod
    def row_parameters(self) -> list[nn.Parameter]:
        """Return the parameters with a row for each code, whose optimizer state belongs to the codes."""

    @abstractmethod
    def replace(self, numbers: CodeIndices, vectors: Vectors) -> None:
        """Set the codes `numbers` to `vectors`, in place, with every statistic that belongs to them."""


class LearnedCodebook(Codebook):
    """Codes are parameters moved by the codebook loss (VQ-VAE, arXiv 1711.00937)."""

    learns_from_loss = True
    can_replace = True

    def __init__(self, codebook_size: int, dim: int, scale: float):
        super().__init__()
        self.table = nn.Parameter(torch.randn(codebook_size, dim) * scale)

    def codes(self) -> Codes:
        return self.table.float()

    def observe(self, vectors: Vectors, numbers: CodeIndices) -> None:
        pass

    def row_parameters(self) -> list[nn.Parameter]:
        return [self.table]

    @torch.no_grad()
    def replace(self, numbers: CodeIndices, vectors: Vectors) -> None:
        self.table[numbers] = vectors.to(self.table.dtype)


class MovingAverageCodebook(Codebook):
    """Codes are moving averages of the vectors they are nearest to (appendix A.1 of arXiv 1711.00937).

    Buffers: `table` the codes; `counts` moving average of the vectors a code gets in a forward; `sums` moving average
    of their sum. A code is sums / counts, and moves only in a forward that uses it: otherwise both decay alike, so that
    their ratio stays where it is, however long that lasts. Counts and sums are added over all ranks before use, so every
    rank holds the same table. Vectors that are not finite do not count. An update is made in every training forward: with
    gradients accumulated over m forwards there are m updates a step, and a decay of d acts as d^m.
    """

    learns_from_loss = False
    can_replace = True
    table: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, codebook_size: int, dim: int, scale: float, decay: float):
        super().__init__()
        self.decay = decay
        table = torch.randn(codebook_size, dim) * scale
        self.register_buffer("table", table)
        self.register_buffer("counts", torch.ones(codebook_size))
        self.register_buffer("sums", table.clone())

    def codes(self) -> Codes:
        return self.table.float()

    @torch.no_grad()
    def observe(self, vectors: Vectors, numbers: CodeIndices) -> None:
        finite = vectors.isfinite().all(dim=1, keepdim=True)
        counts = torch.zeros_like(self.counts, dtype=torch.float32).index_add_(0, numbers, finite.squeeze(1).float())
        sums = torch.zeros_like(self.sums, dtype=torch.float32)
        sums.index_add_(0, numbers, torch.where(finite, vectors.float(), 0.0))
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(counts)
            distributed.all_reduce(sums)
        is_used = (counts > 0).unsqueeze(1)
        moves = is_used | (self.counts > FAINT).unsqueeze(1)
        counts = torch.where(moves.squeeze(1), self.counts.float().lerp(counts, 1 - self.decay), self.counts.float())
        sums = torch.where(moves, self.sums.float().lerp(sums, 1 - self.decay), self.sums.float())
        self.counts.copy_(counts)
        self.sums.copy_(sums)
        # A fresh table, for the backward pass may still need the one that the losses of this forward saw.
        self.table = torch.where(is_used, (sums / counts.unsqueeze(1)).to(self.table.dtype), self.table)

    def row_parameters(self) -> list[nn.Parameter]:
        return []

    @torch.no_grad()
    def replace(self, numbers: CodeIndices, vectors: Vectors) -> None:
        self.table[numbers] = vectors.to(self.table.dtype)
        self.counts[numbers] = self.counts.mean().clamp_min(MIN_COUNT)
        self.sums[numbers] = (vectors.float() * self.counts[numbers].float().unsqueeze(1)).to(self.sums.dtype)
