"""Layers of transformers, on rows of vectors `b n d` without an order of their own."""

from typing import Annotated, Literal

from einops import rearrange
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from ..config import Config
from .base import Channels
from .norms import LayerNorm

Gelu = Literal["exact", "tanh"]
INITIAL_STD = 0.02


class TransformerConfig(Config):
    """Shape of a stack of transformer blocks."""

    width: Channels
    """Channels of the vectors."""
    layers: Annotated[int, Field(ge=1, le=128)]
    """Number of blocks."""
    heads: Annotated[int, Field(ge=1, le=1024)]
    """Attention heads, each of width / heads channels."""
    mlp: Literal["plain", "gated"] = "plain"
    """Second half of a block: plain, or gated, with a norm of its own, as in ViTamin (GEGLU, arXiv 2002.05202)."""
    expansion: Annotated[int, Field(ge=1, le=64)] = 4
    """Channels inside that second half, as a multiple of width."""
    gelu: Gelu = "exact"
    """GELU by its definition, or by the approximation with tanh."""
    epsilon: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    """What the norms of the stack add to the variance."""

    @model_validator(mode="after")
    def _heads_fit(self) -> "TransformerConfig":
        if self.width % self.heads:
            raise ValueError(
                f"width is {self.width}, but must be a multiple of heads, {self.heads}: change one of them."
            )
        return self


class SelfAttention(nn.Module):
    """Attention of all vectors to all, with several heads."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        return self.out(rearrange(functional.scaled_dot_product_attention(query, key, value), "b h n d -> b n (h d)"))


class PlainMLP(nn.Module):
    """Two linear layers with GELU in between."""

    def __init__(self, width: int, hidden: int, gelu: Gelu):
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.gelu = build_gelu(gelu)
        self.contract = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.contract(self.gelu(self.expand(x)))


class GatedMLP(nn.Module):
    """Normalise, then multiply one linear map by the GELU of another: W (G(x) * V(x))."""

    def __init__(self, width: int, hidden: int, gelu: Gelu):
        super().__init__()
        self.norm = LayerNorm(width, eps=1e-6)
        self.gate = nn.Linear(width, hidden)
        self.gelu = build_gelu(gelu)
        self.value = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.contract(self.gelu(self.gate(x)) * self.value(x))


class TransformerBlock(nn.Module):
    """Add attention, then an MLP, each of normalised vectors (pre-norm)."""

    is_block = True

    def __init__(self, config: TransformerConfig):
        super().__init__()
        mlp = {"plain": PlainMLP, "gated": GatedMLP}[config.mlp]
        self.norm1 = LayerNorm(config.width, eps=config.epsilon)
        self.attention = SelfAttention(config.width, config.heads)
        self.norm2 = LayerNorm(config.width, eps=config.epsilon)
        self.mlp = mlp(config.width, config.expansion * config.width, config.gelu)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def build_gelu(kind: Gelu) -> nn.GELU:
    """Build the activation."""
    return nn.GELU(approximate="tanh" if kind == "tanh" else "none")


def build_blocks(config: TransformerConfig) -> nn.Sequential:
    """Build the blocks of a stack, with fresh weights."""
    blocks = nn.Sequential(*(TransformerBlock(config) for _ in range(config.layers)))
    blocks.apply(initialize)
    return blocks


def initialize(module: nn.Module) -> None:
    """Draw the weight of a linear layer from a normal distribution of deviation 0.02, cut off; set its bias to 0.

    Residuals do not start at zero, as those of the convolutional family do: attention is the only way between positions.
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=INITIAL_STD)
        nn.init.zeros_(module.bias)


def matrices(module: nn.Module, prefix: str) -> list[str]:
    """Return the names of the matrices and kernels in a module, with a prefix."""
    return [f"{prefix}.{name}" for name, parameter in module.named_parameters() if parameter.ndim > 1]
