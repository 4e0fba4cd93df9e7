"""A small autoregressive transformer over symbols: pre-norm blocks, rotary positions along both sides of the grid."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from .recipe import Recipe
from .symbols import Alphabet
from .windows import Batch

SLOWEST = 100.0
"""Positions along a side in which the slowest rotary pair turns by one radian."""
Noise: TypeAlias = torch.Generator | None
"""Where dropout draws from; None for no dropout."""
Rotation: TypeAlias = tuple[Tensor, Tensor]
"""Cosines and sines `b 1 n d/2` of the angles by which pairs of channels turn."""


class PriorNetwork(nn.Module):
    """Predict each symbol from those before it, its slot and its position.

    The embedding of a symbol is one of its own and a linear map of the features of its value, `k f` for each slot. Learned
    embeddings of the slot, row and column of the symbol to predict are added, and queries and keys turn with row and column,
    so that neighbours on the grid are alike wherever they are. Outputs are made as embeddings are, and are 0 at first.
    """

    turns: Tensor
    """Radians that each pair of channels turns in a position, the same for rows and columns."""

    def __init__(self, alphabet: Alphabet, features: Sequence[Tensor], rows: int, columns: int, recipe: Recipe):
        super().__init__()
        self.alphabet = alphabet
        width = recipe.width
        self.values = nn.Embedding(alphabet.size + 1, width)
        self.slots = nn.Embedding(len(alphabet.slots), width)
        self.rows, self.columns = nn.Embedding(rows, width), nn.Embedding(columns, width)
        for table in (self.values, self.slots, self.rows, self.columns):
            nn.init.normal_(table.weight, std=0.1)
        self.features = BufferList(features)
        sizes = [each.shape[1] for each in features]
        self.known = nn.ParameterList(torch.randn(size, width) * max(1, size) ** -0.5 for size in sizes)
        self.output_known = nn.ParameterList(torch.zeros(size, width) for size in sizes)
        self.blocks = nn.ModuleList(Block(recipe) for _ in range(recipe.depth))
        self.norm = nn.LayerNorm(width, bias=False)
        self.output = nn.Parameter(torch.zeros(alphabet.size, width))
        self.bias = nn.Parameter(torch.zeros(alphabet.size))
        self.dropout = recipe.dropout
        pairs = width // recipe.heads // 4
        self.register_buffer("turns", SLOWEST ** -(torch.arange(pairs) / max(1, pairs - 1)), persistent=False)

    def forward(self, batch: Batch, noise: Noise = None) -> Tensor:
        """Return the nats of each symbol, `b n`: minus the log of its probability, given those before it."""
        slots = len(self.alphabet.slots)
        at = torch.arange(batch.before.shape[1], device=batch.before.device) % slots
        start = self.values.weight[-1:]
        table = torch.cat([self.values.weight[:-1] + self._mapped(self.known), start])
        x = (
            functional.embedding(batch.before, table)
            + self.slots(at)
            + self.rows(batch.rows)
            + self.columns(batch.columns)
        )
        x = dropped(x, self.dropout, noise)
        angles = torch.cat([side.unsqueeze(-1) * self.turns for side in (batch.rows, batch.columns)], dim=-1)
        rotation = angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)
        for block in self.blocks:
            x = block(x, rotation, noise)
        return self._nats(rearrange(self.norm(x), "b (p s) d -> b p s d", s=slots), batch.targets)

    def _mapped(self, maps: Iterable[Tensor]) -> Tensor:
        """Return what maps of the features of each slot give, for all values `k d`."""
        return torch.cat([features @ each for features, each in zip(self.features, maps, strict=True)])

    def _nats(self, x: Tensor, targets: Tensor) -> Tensor:
        targets = rearrange(targets, "b (p s) -> b p s", s=x.shape[2])
        lasts = self.alphabet.last_values(targets) if self.alphabet.has_gaps else None
        output = self.output + self._mapped(self.output_known)
        nats = []
        for index, slot in enumerate(self.alphabet.slots):
            rows = slice(slot.offset, slot.offset + slot.size)
            logits = functional.linear(x[:, :, index], output[rows], self.bias[rows])
            if lasts is not None:
                beyond = torch.arange(slot.size, device=x.device) > lasts[:, :, index, None]
                logits = logits.masked_fill(beyond, -torch.inf)
            nats.append(functional.cross_entropy(logits.flatten(0, 1), targets[..., index].flatten(), reduction="none"))
        return rearrange(torch.stack(nats), "s (b p) -> b (p s)", b=len(targets))


class BufferList(nn.Module):
    """Tensors that move with a module and are no parameters."""

    def __init__(self, tensors: Sequence[Tensor]):
        super().__init__()
        for index, tensor in enumerate(tensors):
            self.register_buffer(str(index), tensor, persistent=False)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._buffers.values())  # type: ignore[arg-type]


class Block(nn.Module):
    """Causal attention, then a perceptron, each added to what it is given."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        width = recipe.width
        self.heads, self.dropout = recipe.heads, recipe.dropout
        self.norms = nn.ModuleList(nn.LayerNorm(width, bias=False) for _ in range(2))
        self.into = nn.Linear(width, 3 * width, bias=False)
        self.back = nn.Linear(width, width, bias=False)
        self.widen, self.narrow = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        for layer in (self.into, self.widen):
            nn.init.normal_(layer.weight, std=width**-0.5)
        for layer in (self.back, self.narrow):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, rotation: Rotation, noise: Noise) -> Tensor:
        parts = rearrange(self.into(self.norms[0](x)), "b n (r h d) -> r b h n d", r=3, h=self.heads)
        query, key = (turned(part, rotation) for part in parts[:2])
        seen = functional.scaled_dot_product_attention(query, key, parts[2], is_causal=True)
        x = x + dropped(self.back(rearrange(seen, "b h n d -> b n (h d)")), self.dropout, noise)
        wide = functional.gelu(self.widen(self.norms[1](x)))
        return x + dropped(self.narrow(wide), self.dropout, noise)


def turned(vectors: Tensor, rotation: Rotation) -> Tensor:
    """Return vectors `b h n d` whose channels i and i + d/2 are turned as a pair."""
    first, second = vectors.chunk(2, dim=-1)
    cosines, sines = rotation
    return torch.cat([first * cosines - second * sines, first * sines + second * cosines], dim=-1)


def dropped(x: Tensor, fraction: float, noise: Noise) -> Tensor:
    """Return `x` with a fraction of its values set to 0 and the others enlarged, if there is noise."""
    if noise is None or not fraction:
        return x
    kept = torch.rand(x.shape, generator=noise, device=x.device) >= fraction
    return x * kept / (1 - fraction)
