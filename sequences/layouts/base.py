"""Layouts: tokens of an image to ids of a language model, and exactly back."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from ..vocabulary import Vocabulary
from .content import Content, GridContent
from .slots import Grid, Slots, check_grid

__all__ = ["Grid", "Layout", "Slots"]

MAX_PLANS = 512


class Plan(NamedTuple):
    """The slots of a grid on a device, and what turns symbols into ids and back in one indexing each."""

    slots: Slots
    gather: Tensor
    """`n`: the symbol of each position; those of structure are one behind the last, which is 0."""
    positions: Tensor
    """`s`: the position of each symbol."""


class Layout(ABC):
    """A one-to-one map between tokens `q y x` or `b q y x` and ids `n` or `b n`, both int64.

    It is a plan of slots for each grid, from which all else follows. Results are on the device of what they are made from.
    Range checks synchronise with it.
    """

    def __init__(self, name: str, vocabulary: Vocabulary, content: Content | None = None):
        self.name = name
        self.vocabulary = vocabulary
        self.image = vocabulary["image"]
        self.content = content or GridContent(self.image.size, self.image.num_codebooks)
        self._plans: dict[tuple[Grid, torch.device], Plan] = {}

    @abstractmethod
    def plan(self, grid: Grid) -> Slots:
        """Return the slots of a grid, on the CPU; each symbol has one position."""

    @abstractmethod
    def read_grid(self, ids: Tensor) -> Grid:
        """Return the grid of an image whose ids `n`, from its first on, may go on after it.

        Raises ValueError when the grid cannot be read from them.
        """

    @final
    def slots(self, grid: Grid, device: torch.device | str = "cpu") -> Slots:
        """Return what is allowed at each position of an image; raise ValueError for a grid that the layout cannot write."""
        return self._plan(grid, torch.device(device)).slots

    @final
    def length(self, grid: Grid) -> int:
        """Return how many ids an image has."""
        return len(self.slots(grid).first)

    @final
    def header_length(self, grid: Grid) -> int:
        """Return how many ids come before the first code."""
        return self.slots(grid).header_length

    @final
    def ids(self, tokens: Tensor, grid: Grid | None = None) -> Tensor:
        """Return the ids of tokens; raise ValueError when the tokens are not of this layout's tokenizer.

        `grid` is only needed where the shape of the tokens does not tell it.
        """
        grid = self.content.grid(tokens) if grid is None else check_grid(grid)
        symbols = self.content.flat(tokens, grid)
        plan = self._plan(grid, tokens.device)
        if symbols.shape[-1] != len(plan.positions):
            raise ValueError(
                f"tokens have the shape {tuple(tokens.shape)}, but the layout {self.name} needs {len(plan.positions)} for the "
                f"grid {grid}."
            )
        none = symbols.new_zeros(*symbols.shape[:-1], 1)
        return torch.cat([symbols, none], dim=-1).index_select(-1, plan.gather) + plan.slots.first

    @final
    def tokens(self, ids: Tensor, grid: Grid | None = None) -> Tensor:
        """Return the tokens of ids; raise ValueError when the ids are not those of one image, or of one a row.

        `grid` may be omitted when it can be read from the ids.
        """
        if ids.ndim not in (1, 2) or ids.dtype != torch.int64:
            raise ValueError(f"ids are {ids.dtype} of shape {tuple(ids.shape)}, but must be torch.int64 of n or b n.")
        grid = self._read_grid(ids) if grid is None else check_grid(grid)
        plan = self._plan(grid, ids.device)
        _check_length(self.name, ids.shape[-1], grid, len(plan.gather))
        wrong = plan.slots.forbids(ids)
        if wrong.any():
            raise ValueError(self._said(ids, wrong, grid))
        symbols = ids - plan.slots.first
        return self.content.tokens(symbols.index_select(-1, plan.positions), grid)

    def _read_grid(self, ids: Tensor) -> Grid:
        if ids.shape[:-1] == (0,):
            raise ValueError("ids are of no image, so that they do not tell the grid: give Grid(y, x).")
        return self.read_grid(ids[0] if ids.ndim == 2 else ids)

    def _plan(self, grid: Grid, device: torch.device) -> Plan:
        grid = check_grid(grid)
        if (grid, device) not in self._plans:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[grid, device] = _prepared(self.plan(grid), device)
        return self._plans[grid, device]

    def _said(self, ids: Tensor, wrong: Tensor, grid: Grid) -> str:
        """Return the sentence about the first wrong id."""
        *row, position = (int(index) for index in wrong.nonzero()[0])
        allowed = self.slots(grid).allowed(position)
        return (
            f"ids have {int(ids[(*row, position)])} at position {position}{f' of row {row[0]}' if row else ''}, where the "
            f"layout {self.name} of a grid of {grid} has {allowed}: give the ids of one image, whole, and its grid."
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_plans": {}}


def _prepared(slots: Slots, device: torch.device) -> Plan:
    count = int((slots.source >= 0).sum())
    positions = torch.empty(count, dtype=torch.int64)
    filled = (slots.source >= 0).nonzero()[:, 0]
    positions[slots.source[filled]] = filled
    gather = torch.where(slots.source >= 0, slots.source, count)
    return Plan(Slots(*(part.to(device) for part in slots)), gather.to(device), positions.to(device))


def _check_length(name: str, got: int, grid: Grid, length: int) -> None:
    if got < length:
        raise ValueError(
            f"ids end after {got}, but the layout {name} has {length} for a grid of {grid}: the sequence is truncated, or of "
            "another grid."
        )
    if got > length:
        raise ValueError(
            f"ids are {got}, but the layout {name} has {length} for a grid of {grid}: give those of the image alone, or its "
            "grid."
        )
