"""What of an image a sequence spells: how tokens `b q y x` become the flat symbols that slots index, and back."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from .slots import Grid


class Content(ABC):
    """A one-to-one map between tokens `q y x` or `b q y x` and flat symbols `s` or `b s`, both int64."""

    @abstractmethod
    def grid(self, tokens: Tensor) -> Grid:
        """Return the grid of tokens; raise ValueError for a shape that is not of this content or does not tell the grid."""

    @abstractmethod
    def flat(self, tokens: Tensor, grid: Grid) -> Tensor:
        """Return the symbols of tokens; raise ValueError for tokens that are not of this content or grid."""

    @abstractmethod
    def tokens(self, symbols: Tensor, grid: Grid) -> Tensor:
        """Return the tokens of symbols."""


class GridContent(Content):
    """Tokens as they are: one symbol for each codebook and position."""

    def __init__(self, vocab_size: int, num_codebooks: int):
        self.vocab_size = vocab_size
        self.num_codebooks = num_codebooks

    def grid(self, tokens: Tensor) -> Grid:
        if tokens.ndim not in (3, 4) or tokens.shape[-3] != self.num_codebooks:
            raise ValueError(
                f"tokens have the shape {tuple(tokens.shape)}, but must be q y x or b q y x with q = {self.num_codebooks}."
            )
        return Grid(*tokens.shape[-2:])

    def flat(self, tokens: Tensor, grid: Grid) -> Tensor:
        if self.grid(tokens) != grid:
            raise ValueError(f"tokens have the grid {self.grid(tokens)}, but the grid given is {grid}: give theirs.")
        check_range("tokens", tokens, self.vocab_size)
        return tokens.flatten(-3)

    def tokens(self, symbols: Tensor, grid: Grid) -> Tensor:
        return symbols.unflatten(-1, (self.num_codebooks, *grid))


class SequenceContent(Content):
    """Tokens `b 1 1 n` that are a sequence already, whose shape does not tell the grid."""

    def __init__(self, vocab_size: int):
        self.vocab_size = vocab_size

    def grid(self, tokens: Tensor) -> Grid:
        raise ValueError(
            f"tokens of shape {tuple(tokens.shape)} hold a draft before the full grid, so that they do not tell it: give "
            "ids(tokens, grid)."
        )

    def flat(self, tokens: Tensor, _grid: Grid) -> Tensor:
        if tokens.ndim not in (3, 4) or tokens.shape[-3:-1] != (1, 1):
            raise ValueError(f"tokens have the shape {tuple(tokens.shape)}, but must be 1 1 n or b 1 1 n.")
        check_range("tokens", tokens, self.vocab_size)
        return tokens.flatten(-3)

    def tokens(self, symbols: Tensor, _grid: Grid) -> Tensor:
        return symbols.unflatten(-1, (1, 1, -1))


def check_range(what: str, values: Tensor, end: int) -> None:
    """Raise ValueError unless values are int64 from 0 up to but not including `end`."""
    if values.dtype != torch.int64:
        raise ValueError(f"{what} are {values.dtype}, but must be torch.int64: convert them.")
    if values.numel():
        low, high = (int(value) for value in values.aminmax())
        if low < 0 or high >= end:
            raise ValueError(f"{what} go from {low} to {high}, but must be from 0 to {end - 1}.")
