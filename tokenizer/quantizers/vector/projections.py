"""Codebooks behind a learned map: codes = map(basis), so that a step on the map moves every code at once.

Only training needs the map: an exported tokenizer holds the codes.
"""

from abc import ABC, abstractmethod

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ...devices import in_float64
from ...shapes import CodeIndices, Codes, Vectors
from .codebooks import Codebook

SINGULAR = 1e-6
HEADS = 4
LAYERS = 2


class InvertibleProjection(nn.Module, ABC):
    """A map of tables `k d` to tables `k d` with an inverse, so that single codes can be set."""

    @abstractmethod
    def forward(self, basis: Codes) -> Codes:
        """Return the codes of a basis."""

    @abstractmethod
    def basis_of(self, codes: Codes) -> Codes:
        """Return the basis rows that `forward` maps to `codes`, as nearly as they exist."""


class LinearProjection(InvertibleProjection):
    """One matrix, as in SimVQ (arXiv 2411.02038); the authors' code adds a bias."""

    def __init__(self, dim: int, bias: bool):
        super().__init__()
        self.linear = nn.Linear(dim, dim, bias=bias)

    def forward(self, basis: Codes) -> Codes:
        return self.linear(basis)

    def basis_of(self, codes: Codes) -> Codes:
        # In float64, since the matrix may be close to singular.
        offset = 0 if self.linear.bias is None else in_float64(self.linear.bias)
        weight, shifted = in_float64(self.linear.weight), (in_float64(codes) - offset).T
        if weight.is_cuda:  # where least squares takes a matrix of full rank alone, and waits to say so
            return torch.linalg.solve_ex(weight, shifted).result.T.to(codes)
        return torch.linalg.lstsq(weight, shifted).solution.T.to(codes)


class DiagonalProjection(InvertibleProjection):
    """One factor and, if asked for, one offset per channel: between a plain codebook and SimVQ."""

    def __init__(self, dim: int, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, basis: Codes) -> Codes:
        scaled = basis * self.weight
        return scaled if self.bias is None else scaled + self.bias

    def basis_of(self, codes: Codes) -> Codes:
        shifted = codes if self.bias is None else codes - self.bias
        return shifted / torch.where(self.weight.abs() < SINGULAR, SINGULAR, self.weight)


class MLPProjection(nn.Sequential):
    """Two matrices with a GELU between them, the inner layer four times as wide."""

    def __init__(self, dim: int, bias: bool):
        super().__init__(nn.Linear(dim, 4 * dim, bias=bias), nn.GELU(), nn.Linear(4 * dim, dim, bias=bias))


class BridgeProjection(nn.Module):
    """VQBridge, a small transformer (FVQ, arXiv 2509.10140).

    Compress `patch` neighbouring codes into one token, process the tokens with pre-norm layers, and recover the codes.
    The result is added to the basis. The last layer starts at zero, so the codes start as their basis.
    """

    def __init__(self, dim: int, patch: int, width: int):
        super().__init__()
        self.patch = patch
        self.compress = nn.Linear(patch * dim, width)
        self.process = nn.Sequential(*(BridgeLayer(width) for _ in range(LAYERS)))
        self.recover = nn.Linear(width, patch * dim)
        nn.init.zeros_(self.recover.weight)
        nn.init.zeros_(self.recover.bias)

    def forward(self, basis: Codes) -> Codes:
        tokens = self.compress(rearrange(basis, "(n patch) d -> 1 n (patch d)", patch=self.patch))
        change = self.recover(self.process(tokens))
        return basis + rearrange(change, "1 n (patch d) -> (n patch) d", patch=self.patch)


class BridgeLayer(nn.Module):
    """A pre-norm transformer layer that never holds the attention matrix, whether gradients are recorded or not.

    Without gradients `nn.TransformerEncoderLayer` holds it: 4 GB for a codebook of 262,144.
    """

    def __init__(self, width: int):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.inner_norm = nn.LayerNorm(width)
        self.inner_in = nn.Linear(width, 4 * width)
        self.inner_out = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        mixed = self.attention_in(self.attention_norm(tokens))
        query, key, value = rearrange(mixed, "b n (part h d) -> part b h n d", part=3, h=HEADS)
        attended = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.attention_out(rearrange(attended, "b h n d -> b n (h d)"))
        return tokens + self.inner_out(functional.gelu(self.inner_in(self.inner_norm(tokens))))


class ProjectedCodebook(Codebook):
    """Codes are a learned map of a basis drawn from N(0, 1/d); the basis is a buffer, or a parameter when trained."""

    learns_from_loss = True
    basis: Tensor

    def __init__(self, codebook_size: int, dim: int, projection: nn.Module, trained_basis: bool):
        super().__init__()
        basis = torch.randn(codebook_size, dim) * dim**-0.5
        if trained_basis:
            self.basis = nn.Parameter(basis)
        else:
            self.register_buffer("basis", basis)
        self.projection = projection
        self.can_replace = isinstance(projection, InvertibleProjection)

    def codes(self) -> Codes:
        with torch.autocast(self.basis.device.type, enabled=False):
            return self.projection(self.basis)

    def observe(self, vectors: Vectors, indices: CodeIndices) -> None:
        pass

    def row_parameters(self) -> list[nn.Parameter]:
        return [self.basis] if isinstance(self.basis, nn.Parameter) else []

    @torch.no_grad()
    def replace(self, indices: CodeIndices, vectors: Vectors) -> None:
        assert isinstance(self.projection, InvertibleProjection), "callers ask can_replace first"
        self.basis[indices] = self.projection.basis_of(vectors)

    @torch.no_grad()
    def replace_where(self, chosen: Tensor, vectors: Codes) -> None:
        assert isinstance(self.projection, InvertibleProjection), "callers ask can_replace first"
        self.basis.copy_(torch.where(chosen.unsqueeze(1), self.projection.basis_of(vectors), self.basis))
