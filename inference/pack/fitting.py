"""Which documents share a row: whole ones, in rows of a length."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def fit(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Return rows of documents, by their indices: best fit, the longest first.

    A document goes into the row that it leaves the least room in; no length may be above `row_length`. Rows come in the
    order of their first document, and the documents of a row in theirs, so that nothing but the lengths decides.
    """
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []
    """What is left in each row that is not full, and its index, in order."""
    for index in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        length = lengths[index]
        assert 0 < length <= row_length
        at = bisect_left(room, (length, -1))
        if at < len(room):
            left, row = room.pop(at)
        else:
            left, row = row_length, len(rows)
            rows.append([])
        rows[row].append(index)
        if left > length:
            insort(room, (left - length, row))
    return sorted(map(sorted, rows))
