"""Lines broken for a terminal: between words, never within one."""

import re
from typing import IO

from rich.cells import cell_len
from rich.console import Console

HEAD = re.compile(r"( *)([^ ]+( [^ ]+)? {2,})?")
"""Spaces, and a label in a column of its own."""
INDENT = 2


def fitted(line: str, stream: IO[str] | None) -> str:
    """Return a line as `stream` should get it: broken at the width of a terminal, whole for a file or a pipe."""
    if stream is None or not stream.isatty():
        return line
    return wrapped(line, Console(file=stream).width)


def wrapped(line: str, width: int) -> str:
    """Return a line with breaks between its words, so that each part has `width` columns where its words allow that.

    What follows the first part begins below the text after the label, or is indented; a word that needs all columns is not.
    """
    head = HEAD.match(line)
    assert head is not None
    indent = head.end() if head[2] else len(head[1]) + INDENT
    if indent > width // 2:
        indent = INDENT
    rows, row = [], head[0]
    for word in line[head.end() :].split(" "):
        longer = row + word if row == head[0] else f"{row} {word}"
        if cell_len(longer) <= width or not row.strip():
            row = longer
            continue
        rows.append(row.rstrip())
        row = word.rjust(len(word) + indent) if indent + cell_len(word) <= width else word
    return "\n".join([*rows, row])
