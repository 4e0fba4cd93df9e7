"""Documents to rows: one each, or whole documents together in rows of a length."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..packed_shards.loss import LossRule
from ..packed_shards.rows import PackedRow
from .documents import Document
from .fitting import fit


class RowBuilder:
    """Joins the ids of documents; what it gives depends on the documents alone."""

    def __init__(
        self, rule: LossRule, dtype: str, bos: int | None, eos: int | None, pad: int | None, length: int | None
    ):
        self._rule = rule
        self._dtype = dtype
        self._bos = [] if bos is None else [bos]
        self._eos = [] if eos is None else [eos]
        self._pad = 0 if pad is None else pad
        self._length = length

    def size(self, document: Document) -> int:
        """Return the ids that a document takes in a row."""
        return document.length + len(self._bos) + len(self._eos)

    def rows(self, documents: Sequence[Document]) -> Iterator[PackedRow]:
        """Yield the rows of some documents, none of which is longer than a row."""
        if self._length is None:
            for document in documents:
                yield self._row([document], self.size(document))
            return
        for members in fit(list(map(self.size, documents)), self._length):
            yield self._row([documents[index] for index in members], self._length)

    def _row(self, documents: Sequence[Document], length: int) -> PackedRow:
        ids = np.full(length, self._pad, self._dtype)
        placed, at = [], 0
        for document in documents:
            packed = document.at(at, bool(self._bos), bool(self._eos))
            begin, stop = packed.image
            ids[at:begin] = self._bos + document.before
            ids[begin:stop] = document.image
            at = packed.span[1]
            ids[stop:at] = document.after + self._eos
            placed.append(packed)
        return PackedRow(ids, self._rule.mask(placed, length), placed)
