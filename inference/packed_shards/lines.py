"""The .jsonl beside arrays of ids: a line a row, with its documents."""

import json
from typing import BinaryIO

from ..token_shards.token_samples import parse_json
from .rows import PackedDocument, PackedRow, documents_from_json, documents_to_json

MARK = b'{"vistok": "packed"'
"""How each line begins, by which a shard of vistok is recognised."""
MAX_LINE = 1 << 30
"""Bytes of the longest line that is read back."""


def write_line(file: BinaryIO, row: PackedRow) -> None:
    """Write the line of a row."""
    file.write(b'%s, "documents": %s}\n' % (MARK, documents_to_json(row.documents).encode()))


def read_line(file: BinaryIO, number: int, length: int) -> list[PackedDocument]:
    """Read the line of a row of `length` ids; raise ValueError, with a phrase."""
    line = file.readline(MAX_LINE)
    values = parse_json(line) if line.endswith(b"\n") else None
    if not isinstance(values, dict) or "documents" not in values:
        raise ValueError(f"has a .jsonl whose line {number + 1} describes no row: it is cut or damaged")
    try:
        return documents_from_json(json.dumps(values["documents"]), length)
    except ValueError as error:
        raise ValueError(f"has a .jsonl in whose line {number + 1} {error}") from None


def check_end(file: BinaryIO, rows: int) -> None:
    """Raise ValueError when a file has more lines than rows were read."""
    if file.read(1):
        raise ValueError(f"has a .jsonl with more lines than its {rows:,} rows: it is damaged")


def is_own_file(file: BinaryIO | None) -> bool | None:
    """Return whether vistok wrote a file of lines; None for none, and for one that is empty or cut."""
    if file is None:
        return None
    try:
        begin = file.read(len(MARK))
    except OSError:
        return None
    return None if MARK.startswith(begin.rstrip(b"\0")) and begin != MARK else begin == MARK
