"""Codebooks behind a learned map: codes = map(basis), so that a step on the map moves every code at once.

The map is needed in training alone: an exported tokenizer holds the codes.
"""

from abc import ABC, abstractmethod

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ...shapes import CodeIndices, Codes, Vectors
from .codebooks import Codebook

SINGULAR = 1e-6
BRIDGE_HEADS = 4
BRIDGE_LAYERS = 2


class Projection(nn.Module, ABC):
    """A map of tables `k d` to tables `k d`."""

    @abstractmethod
    def forward(self, basis: Codes) -> Codes:
        """Return the codes of a basis."""


class InvertibleProjection(Projection):
    """A map that can be followed back, so that single codes can be set."""

    @abstractmethod
    def basis_of(self, codes: Codes) -> Codes:
        """Return the basis rows that `forward` takes to `codes`, as nearly as they exist."""


class LinearProjection(InvertibleProjection):
    """One matrix, as SimVQ has it (arXiv 2411.02038; the authors' code adds a bias)."""

    def __init__(self, dim: int, bias: bool):
        super().__init__()
        self.linear = nn.Linear(dim, dim, bias=bias)

    def forward(self, basis: Codes) -> Codes:
        return _linear(self.linear, basis)

    def basis_of(self, codes: Codes) -> Codes:
        # In float64, for the matrix may be close to singular.
        offset = 0 if self.linear.bias is None else self.linear.bias.double()
        return torch.linalg.lstsq(self.linear.weight.double(), (codes.double() - offset).T).solution.T.float()


class DiagonalProjection(InvertibleProjection):
    """One factor, and where asked one offset, for each channel: between a plain codebook and SimVQ."""

    def __init__(self, dim: int, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, basis: Codes) -> Codes:
        scaled = basis * self.weight.float()
        return scaled if self.bias is None else scaled + self.bias.float()

    def basis_of(self, codes: Codes) -> Codes:
        weight = self.weight.float()
        shifted = codes.float() if self.bias is None else codes.float() - self.bias.float()
        return shifted / torch.where(weight.abs() < SINGULAR, SINGULAR, weight)


class MLPProjection(Projection):
    """Two matrices with a GELU between them, the inner layer four times as wide."""

    def __init__(self, dim: int, bias: bool):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, 4 * dim, bias=bias), nn.GELU(), nn.Linear(4 * dim, dim, bias=bias))

    def forward(self, basis: Codes) -> Codes:
        inner, _, outer = self.layers
        assert isinstance(inner, nn.Linear) and isinstance(outer, nn.Linear)
        return _linear(outer, functional.gelu(_linear(inner, basis)))


class BridgeProjection(Projection):
    """VQBridge (arXiv 2509.10140): patches of codes become tokens of a small transformer, whose answer is added to them.

    Compress `patch` neighbouring codes into one token, process the tokens with two pre-norm layers, recover the codes.
    The last layer starts at zero, so the codes start as their basis.
    """

    def __init__(self, dim: int, patch: int, width: int):
        super().__init__()
        self.patch = patch
        self.compress = nn.Linear(patch * dim, width)
        self.process = nn.Sequential(*(BridgeLayer(width) for _ in range(BRIDGE_LAYERS)))
        self.recover = nn.Linear(width, patch * dim)
        nn.init.zeros_(self.recover.weight)
        nn.init.zeros_(self.recover.bias)

    def forward(self, basis: Codes) -> Codes:
        tokens = _linear(self.compress, rearrange(basis, "(n patch) d -> 1 n (patch d)", patch=self.patch))
        change = _linear(self.recover, self.process(tokens))
        return basis + rearrange(change, "1 n (patch d) -> (n patch) d", patch=self.patch)


class BridgeLayer(nn.Module):
    """A pre-norm transformer layer that never holds the matrix of all pairs of tokens, whether gradients are recorded or not.

    `nn.TransformerEncoderLayer` does without them: 4 GB for a codebook of 262,144.
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
        mixed = _linear(self.attention_in, _norm(self.attention_norm, tokens))
        query, key, value = rearrange(mixed, "b n (part h d) -> part b h n d", part=3, h=BRIDGE_HEADS)
        answer = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + _linear(self.attention_out, rearrange(answer, "b h n d -> b n (h d)"))
        inner = functional.gelu(_linear(self.inner_in, _norm(self.inner_norm, tokens)))
        return tokens + _linear(self.inner_out, inner)


class ProjectedCodebook(Codebook):
    """Codes are a learned map of a basis drawn from N(0, 1/d); the basis is a buffer, or a parameter when trained."""

    learns_from_loss = True
    basis: Tensor

    def __init__(self, codebook_size: int, dim: int, projection: Projection, trained_basis: bool):
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
            return self.projection(self.basis.float())

    def observe(self, vectors: Vectors, numbers: CodeIndices) -> None:
        pass

    def row_parameters(self) -> list[nn.Parameter]:
        return [self.basis] if isinstance(self.basis, nn.Parameter) else []

    @torch.no_grad()
    def replace(self, numbers: CodeIndices, vectors: Vectors) -> None:
        assert isinstance(self.projection, InvertibleProjection), "callers ask can_replace first"
        self.basis[numbers] = self.projection.basis_of(vectors).to(self.basis.dtype)


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    bias = None if layer.bias is None else layer.bias.float()
    return functional.linear(x, layer.weight.float(), bias)


def _norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    return functional.layer_norm(x, layer.normalized_shape, layer.weight.float(), layer.bias.float(), layer.eps)
