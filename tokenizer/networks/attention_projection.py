"""Attention that changes the number of channels, around the quantizer."""

from typing import Literal

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from .norms import LayerNorm
from .transformer import GatedMLP, Gelu, initialize

Projection = Literal["linear", "attention"]


class ResizingAttention(nn.Module):
    """Attention whose heads have the smaller of both widths: their mean narrows the vectors, side by side they widen them."""

    def __init__(self, width: int, out_width: int):
        super().__init__()
        wide, self.head = max(width, out_width), min(width, out_width)
        self.narrows = width > out_width
        self.qkv = nn.Linear(width, 3 * wide)
        self.out = nn.Linear(out_width, out_width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, d=self.head)
        heads = functional.scaled_dot_product_attention(query, key, value)
        return self.out(heads.mean(dim=1) if self.narrows else rearrange(heads, "b h n d -> b n (h d)"))


class AttentionProjection(nn.Module):
    """Project vectors `b n d` to another width, linearly and by attention, then add a gated MLP.

    From UniTok (arXiv 2502.20321, section 3.2). The larger width must be a multiple of the smaller.
    """

    def __init__(self, width: int, out_width: int, gelu: Gelu):
        super().__init__()
        self.norm_linear = LayerNorm(width)
        self.linear = nn.Linear(width, out_width)
        self.norm_attention = LayerNorm(width)
        self.attention = ResizingAttention(width, out_width)
        self.norm_mlp = LayerNorm(out_width)
        self.mlp = GatedMLP(out_width, 2 * out_width, gelu)
        self.apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(self.norm_linear(x)) + self.attention(self.norm_attention(x))
        return x + self.mlp(self.norm_mlp(x))


def build_projection(kind: Projection, width: int, out_width: int, gelu: Gelu) -> nn.Module:
    """Build a layer from vectors of one width to another, with fresh weights."""
    if kind == "attention":
        return AttentionProjection(width, out_width, gelu)
    linear = nn.Linear(width, out_width)
    initialize(linear)
    return linear
