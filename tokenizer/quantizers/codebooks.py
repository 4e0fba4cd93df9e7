"""How the codes of a vector quantizer are parameterised and updated."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from ..shapes import CodeNumbers, Codes, Vectors

SMOOTHING = 1e-5


class Codebook(nn.Module, ABC):
    """A table of codes `k d`."""

    learns_from_loss: bool
    """Whether the codes move by the gradient of the codebook loss."""

    @abstractmethod
    def codes(self) -> Codes:
        """Return the table in float32, with its gradient where it has one."""

    @abstractmethod
    def observe(self, vectors: Vectors, numbers: CodeNumbers) -> None:
        """Take note of vectors and their nearest codes; called once a training forward, on every rank."""

    @abstractmethod
    def replace(self, numbers: CodeNumbers, vectors: Vectors) -> None:
        """Set the codes `numbers` to `vectors`, in place, with every statistic that belongs to them."""


class LearnedCodebook(Codebook):
    """Codes are parameters moved by the codebook loss (VQ-VAE, arXiv 1711.00937)."""

    learns_from_loss = True

    def __init__(self, codebook_size: int, dim: int, scale: float):
        super().__init__()
        self.table = nn.Parameter(torch.randn(codebook_size, dim) * scale)

    def codes(self) -> Codes:
        return self.table.float()

    def observe(self, vectors: Vectors, numbers: CodeNumbers) -> None:
        pass

    @torch.no_grad()
    def replace(self, numbers: CodeNumbers, vectors: Vectors) -> None:
        self.table[numbers] = vectors.to(self.table.dtype)


class MovingAverageCodebook(Codebook):
    """Codes are moving averages of the vectors they are nearest to (appendix A.1 of arXiv 1711.00937).

    Buffers: `table` the codes; `counts` moving average of the vectors a code gets in a forward; `sums` moving average
    of their sum. Counts and sums are added over all ranks before use, so every rank holds the same table.
    """

    learns_from_loss = False
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
    def observe(self, vectors: Vectors, numbers: CodeNumbers) -> None:
        counts = torch.zeros_like(self.counts).index_add_(0, numbers, torch.ones_like(numbers, dtype=torch.float32))
        sums = torch.zeros_like(self.sums).index_add_(0, numbers, vectors.float())
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(counts)
            distributed.all_reduce(sums)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        total = self.counts.sum()
        smoothed = (self.counts + SMOOTHING) / (total + len(self.counts) * SMOOTHING) * total
        self.table.copy_(self.sums / smoothed.unsqueeze(1))

    @torch.no_grad()
    def replace(self, numbers: CodeNumbers, vectors: Vectors) -> None:
        self.table[numbers] = vectors.float()
        self.counts[numbers] = self.counts.mean().clamp_min(SMOOTHING)
        self.sums[numbers] = vectors.float() * self.counts[numbers].unsqueeze(1)


class ProjectedCodebook(Codebook):
    """Codes are a fixed random basis times one learned matrix, so every step moves every code (SimVQ, arXiv 2411.02038).

    Buffers: `basis`, drawn once from N(0, 1/d) and never trained; it must be saved with the weights.
    """

    learns_from_loss = True
    basis: Tensor

    def __init__(self, codebook_size: int, dim: int, bias: bool):
        super().__init__()
        self.register_buffer("basis", torch.randn(codebook_size, dim) * dim**-0.5)
        self.projection = nn.Linear(dim, dim, bias=bias)

    def codes(self) -> Codes:
        bias = None if self.projection.bias is None else self.projection.bias.float()
        return functional.linear(self.basis, self.projection.weight.float(), bias)

    def observe(self, vectors: Vectors, numbers: CodeNumbers) -> None:
        pass

    @torch.no_grad()
    def replace(self, numbers: CodeNumbers, vectors: Vectors) -> None:
        # The basis that the projection takes to `vectors`; in float64, for the projection may be close to singular.
        offset = 0 if self.projection.bias is None else self.projection.bias.double()
        solved = torch.linalg.lstsq(self.projection.weight.double(), (vectors.double() - offset).T).solution
        self.basis[numbers] = solved.T.float()
