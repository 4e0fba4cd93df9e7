"""The way back: rows of ids to tokens and the ids of text, as the layout reads them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ...sequences.layouts.base import Grid, Layout
from .digests import digest_of_tokens
from .manifest import PackSettings
from .rows import PackedDocument, PackedRow

BATCH_IDS = 1 << 20
"""Ids of rows that are read together."""


class ReadDocument(NamedTuple):
    """A document whose image was read from its ids."""

    document: PackedDocument
    tokens: np.ndarray | None
    """int64 `q y x`; None when the ids are not of such an image."""
    problem: str
    """A phrase that says why there are no tokens, or that they are not those that were packed; else empty."""
    before: np.ndarray
    """Ids of the text before the image."""
    after: np.ndarray
    """Ids of the text after it."""


class SequenceReader:
    """Reads images and texts from rows, the images of one grid together."""

    def __init__(self, layout: Layout, settings: PackSettings):
        self._layout = layout
        self._has_bos = settings.bos is not None
        self._has_eos = settings.eos is not None

    def read(self, rows: Iterable[PackedRow]) -> Iterator[tuple[PackedRow, list[ReadDocument]]]:
        """Yield each row with its documents, in order."""
        for batch in _batches(rows):
            owned = [(row, document) for row in batch for document in row.documents]
            found = iter(
                self._images([row.ids[slice(*each.image)] for row, each in owned], [each for _, each in owned])
            )
            for row in batch:
                yield row, [self._document(row, document, *next(found)) for document in row.documents]

    def _document(
        self, row: PackedRow, document: PackedDocument, tokens: np.ndarray | None, problem: str
    ) -> ReadDocument:
        (first, end), (begin, stop) = document.span, document.image
        if tokens is not None and digest_of_tokens(tokens) != document.tokens:
            problem = "its tokens are not those that were packed"
        before, after = row.ids[first + self._has_bos : begin], row.ids[stop : end - self._has_eos]
        return ReadDocument(document, tokens, problem, before, after)

    def _images(
        self, ids: Sequence[np.ndarray], documents: Sequence[PackedDocument]
    ) -> list[tuple[np.ndarray | None, str]]:
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, document in enumerate(documents):
            groups.setdefault((document.grid, len(ids[index])), []).append(index)
        found: list[tuple[np.ndarray | None, str]] = [(None, "")] * len(ids)
        for members in groups.values():
            grid = documents[members[0]].grid
            try:
                tokens = self._tokens(np.stack([ids[index] for index in members]), grid)
                read: list[tuple[np.ndarray | None, str]] = [(each, "") for each in tokens]
            except ValueError:
                read = [self._one(ids[index], grid) for index in members]
            for index, each in zip(members, read, strict=True):
                found[index] = each
        return found

    def _one(self, ids: np.ndarray, grid: tuple[int, int, int]) -> tuple[np.ndarray | None, str]:
        try:
            return self._tokens(ids[None], grid)[0], ""
        except ValueError as error:
            return None, f"its ids are no image of {grid[1]} x {grid[2]} ({str(error).rstrip('.')})"

    def _tokens(self, ids: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
        """Return the tokens `b q y x` of ids `b n`; raise ValueError when they are not of this grid."""
        given = torch.from_numpy(ids.astype(np.int64))
        try:
            tokens = self._layout.tokens(given)
        except ValueError:
            tokens = self._layout.tokens(given, Grid(*grid[1:]))  # as raster, which cannot tell the grid
        if tuple(tokens.shape[1:]) != grid:
            raise ValueError(f"they are tokens {tuple(tokens.shape[1:])}, not {grid}")
        return tokens.numpy()


def _batches(rows: Iterable[PackedRow]) -> Iterator[list[PackedRow]]:
    batch: list[PackedRow] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += row.ids.size
        if size >= BATCH_IDS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
