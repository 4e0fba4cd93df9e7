"""The format of Megatron-LM: NAME.bin and .idx with the ids, NAME.loss.bin and .idx with their mask, NAME.jsonl with the rest.

A row is a sequence, and a document of IndexedDataset. The mask is a dataset of its own with the same sequences, so that
whatever order a trainer draws for the ids is an order of the mask.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from ..token_shards.megatron_index import SequenceIndex, read_index, write_index
from .lines import check_end, is_own_file, read_line, write_line
from .rows import PackedRow

MASK_TYPE = "uint8"


class PackedMegatronFormat:
    """Shards that IndexedDataset reads. Line i of the .jsonl describes sequence i."""

    suffixes = (".bin", ".idx", ".loss.bin", ".loss.idx", ".jsonl")

    def require(self) -> None:
        """Do nothing: it needs no other package."""

    def write(self, files: Sequence[BinaryIO], rows: Iterable[PackedRow], dtype: str) -> None:
        ids, index, loss, loss_index, lines = files
        lengths: list[int] = []
        for row in rows:
            ids.write(row.ids.astype(np.dtype(dtype).newbyteorder("<"), copy=False).tobytes())
            loss.write(row.loss.tobytes())
            lengths.append(row.ids.size)
            write_line(lines, row)
        write_index(index, dtype, lengths)
        write_index(loss_index, MASK_TYPE, lengths)

    def read(self, files: Sequence[BinaryIO]) -> Iterator[PackedRow]:
        ids, index, loss, loss_index, lines = files
        sequences = read_index(index, ids.seek(0, os.SEEK_END))
        masks = read_index(loss_index, loss.seek(0, os.SEEK_END))
        if not np.array_equal(sequences.lengths, masks.lengths) or masks.dtype != np.dtype(MASK_TYPE):
            raise ValueError("has a .loss.idx with other rows than its .idx: it is damaged")
        for file in (ids, loss, lines):
            file.seek(0)
        for number, length in enumerate(sequences.lengths.tolist()):
            documents = read_line(lines, number, length)
            yield PackedRow(_next(ids, sequences, length), _next(loss, masks, length), documents)
        check_end(lines, len(sequences.lengths))

    def is_own(self, files: Sequence[BinaryIO | None]) -> bool | None:
        return is_own_file(files[-1])


def _next(file: BinaryIO, index: SequenceIndex, length: int) -> np.ndarray:
    values = np.frombuffer(file.read(length * index.dtype.itemsize), index.dtype)
    if len(values) < length:
        raise ValueError("has a .bin that is shorter than it was")
    return values
