"""Layouts: tokens of an image to ids of a language model, and exactly back."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from ..tokenizer.wording import unknown_choice


class Grid(NamedTuple):
    """Rows and columns of the tokens of an image."""

    y: int
    x: int


class Layout(ABC):
    """A one-to-one map between tokens `q y x` or `b q y x` and ids `n` or `b n`, both int64.

    Range checks synchronise with the device.
    """

    @abstractmethod
    def ids(self, tokens: Tensor) -> Tensor:
        """Return the ids of tokens; raise ValueError when the tokens are not of this layout's tokenizer."""

    @abstractmethod
    def tokens(self, ids: Tensor, grid: Grid | None = None) -> Tensor:
        """Return the tokens of ids; raise ValueError when the ids are not of this layout.

        `grid` may be omitted when it can be recovered from the ids.
        """


class RasterLayout(Layout):
    """Row by row from the top left, with the tokens of all codebooks interleaved at each position.

    A token of codebook q has the id offset + q * vocab_size + token. The grid cannot be recovered from the ids.
    """

    def __init__(self, vocab_size: int, num_codebooks: int = 1, offset: int = 0):
        self.vocab_size = vocab_size
        self.num_codebooks = num_codebooks
        self.offset = offset

    def ids(self, tokens: Tensor) -> Tensor:
        if tokens.ndim not in (3, 4) or tokens.shape[-3] != self.num_codebooks:
            raise ValueError(
                f"tokens have the shape {tuple(tokens.shape)}, but must be q y x or b q y x with q = {self.num_codebooks}."
            )
        check_range("tokens", tokens, 0, self.vocab_size)
        return (tokens.movedim(-3, -1) + self._first_ids(tokens.device)).flatten(-3)

    def tokens(self, ids: Tensor, grid: Grid | None = None) -> Tensor:
        if grid is None:
            raise ValueError("The layout raster needs a grid, which cannot be recovered from its ids: give Grid(y, x).")
        y, x = grid
        length = y * x * self.num_codebooks
        if ids.ndim not in (1, 2) or ids.shape[-1] != length:
            raise ValueError(
                f"ids have the shape {tuple(ids.shape)}, but must be n or b n with n = {length} for a grid of {y} x {x}."
            )
        check_range("ids", ids, self.offset, self.offset + self.num_codebooks * self.vocab_size)
        tokens = ids.unflatten(-1, (y, x, self.num_codebooks)) - self._first_ids(ids.device)
        check_range("ids, without the first id of their codebook,", tokens, 0, self.vocab_size)
        return tokens.movedim(-1, -3)

    def _first_ids(self, device: torch.device) -> Tensor:
        return self.offset + self.vocab_size * torch.arange(self.num_codebooks, device=device)


LAYOUTS: dict[str, type[Layout]] = {"raster": RasterLayout}


def build_layout(name: str, *arguments: int, **options: int) -> Layout:
    """Build a layout by its name; raise ValueError for an unknown one."""
    if name not in LAYOUTS:
        raise ValueError(unknown_choice("layout", f"name {name!r}", name, list(LAYOUTS)))
    return LAYOUTS[name](*arguments, **options)


def check_range(what: str, values: Tensor, first: int, end: int) -> None:
    """Raise ValueError unless values are int64 from `first` up to but not including `end`."""
    if values.dtype != torch.int64:
        raise ValueError(f"{what} are {values.dtype}, but must be torch.int64: convert them.")
    if values.numel():
        low, high = (int(value) for value in values.aminmax())
        if low < first or high >= end:
            raise ValueError(f"{what} go from {low} to {high}, but must be from {first} to {end - 1}.")
