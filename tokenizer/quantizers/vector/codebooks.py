"""How the codes of a vector quantizer are parameterised and updated."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ...devices import over_ranks
from ...shapes import CodeIndices, Codes, Vectors

FAINT = 1e-20
"""Count below which it does not decay further, because float32 would round the ratio of sum and count."""
MIN_COUNT = 1e-5
"""Min count of a code that was just set, so that the first vector does not pull it away."""


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
    def observe(self, vectors: Vectors, indices: CodeIndices) -> None:
        """Update the codes from vectors and their nearest codes, in place.

        Every rank calls it once per training forward with gradients, however many levels or groups share the codebook.
        """

    @abstractmethod
    def row_parameters(self) -> list[nn.Parameter]:
        """Return the parameters with a row for each code, whose optimizer state belongs to the codes."""

    @abstractmethod
    def replace(self, indices: CodeIndices, vectors: Vectors) -> None:
        """Set some codes to vectors, in place, with every statistic that belongs to them."""

    @abstractmethod
    def replace_where(self, chosen: Tensor, vectors: Codes) -> None:
        """Set the codes that are chosen, booleans ` k`, to their rows of `vectors`, as `replace` does; no device sync."""


class LearnedCodebook(Codebook):
    """Codes are parameters moved by the codebook loss (VQ-VAE, arXiv 1711.00937)."""

    learns_from_loss = True
    can_replace = True

    def __init__(self, codebook_size: int, dim: int, scale: float):
        super().__init__()
        self.table = nn.Parameter(torch.randn(codebook_size, dim) * scale)

    def codes(self) -> Codes:
        return self.table

    def observe(self, vectors: Vectors, indices: CodeIndices) -> None:
        pass

    def row_parameters(self) -> list[nn.Parameter]:
        return [self.table]

    @torch.no_grad()
    def replace(self, indices: CodeIndices, vectors: Vectors) -> None:
        self.table[indices] = vectors

    @torch.no_grad()
    def replace_where(self, chosen: Tensor, vectors: Codes) -> None:
        self.table.copy_(torch.where(chosen.unsqueeze(1), vectors, self.table))


class MovingAverageCodebook(Codebook):
    """Codes are moving averages of the vectors they are nearest to (EMA, appendix A.1 of arXiv 1711.00937).

    Buffers: `table` the codes; `counts` EMA of how many vectors a code gets per forward; `sums` EMA of their sum. A code is
    sums / counts, and moves only in forwards that use it: in others both decay alike, so their ratio stays, however long
    that lasts. Counts and sums are added over all ranks first, so every rank holds the same table. Vectors that are not
    finite do not count. Each training forward is an update: with gradients accumulated over m forwards, a decay of d acts
    as d^m per step.
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
        return self.table

    @torch.no_grad()
    def observe(self, vectors: Vectors, indices: CodeIndices) -> None:
        finite = vectors.isfinite().all(dim=1, keepdim=True)
        counts = torch.zeros_like(self.counts).index_add_(0, indices, finite.squeeze(1).float())
        sums = torch.zeros_like(self.sums).index_add_(0, indices, torch.where(finite, vectors, 0.0))
        counts, sums = over_ranks(counts), over_ranks(sums)
        is_used = counts > 0
        decays = is_used | (self.counts > FAINT)
        counts = torch.where(decays, self.counts.lerp(counts, 1 - self.decay), self.counts)
        sums = torch.where(decays.unsqueeze(1), self.sums.lerp(sums, 1 - self.decay), self.sums)
        self.counts.copy_(counts)
        self.sums.copy_(sums)
        # A new tensor, since the backward pass may still need the table that the losses of this forward saw.
        self.table = torch.where(is_used.unsqueeze(1), sums / counts.unsqueeze(1), self.table)

    def row_parameters(self) -> list[nn.Parameter]:
        return []

    @torch.no_grad()
    def replace(self, indices: CodeIndices, vectors: Vectors) -> None:
        self.table[indices] = vectors
        self.counts[indices] = self.counts.mean().clamp_min(MIN_COUNT)
        self.sums[indices] = vectors * self.counts[indices].unsqueeze(1)

    @torch.no_grad()
    def replace_where(self, chosen: Tensor, vectors: Codes) -> None:
        self.table.copy_(torch.where(chosen.unsqueeze(1), vectors, self.table))
        self.counts.copy_(torch.where(chosen, self.counts.mean().clamp_min(MIN_COUNT), self.counts))
        self.sums.copy_(torch.where(chosen.unsqueeze(1), vectors * self.counts.unsqueeze(1), self.sums))
