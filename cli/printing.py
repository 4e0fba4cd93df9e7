"""What commands print: lines with file names in them, broken between words on a terminal, and JSON."""

import json
import re
import sys
import unicodedata
from collections.abc import Mapping
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console

LABEL = re.compile(r"( *)([^ ]+( [^ ]+)? {2,})?")
"""Leading spaces, and a label in a column before the text."""
INDENT = 2


def say(line: str, aside: bool = False) -> None:
    """Print a line that may hold file names, broken between words on a terminal; with `aside` on standard error."""
    stream = sys.stderr if aside else sys.stdout
    print(fit_to_terminal(escape_unprintable(line), stream), file=stream, flush=True)


def print_json(values: Mapping[str, Any]) -> None:
    """Print the summary of a command as one line of JSON on standard output; paths become strings."""
    print(json.dumps(values, default=str))


def escape_unprintable(text: str) -> str:
    r"""Escape the characters of a file name that do not print as themselves: \n, \x1b, \udce9."""
    return "".join(
        letter
        if letter.isprintable() or unicodedata.category(letter) == "Zs"
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def fit_to_terminal(line: str, stream: IO[str] | None) -> str:
    """Break a line at the width of a terminal; leave it whole for a file or a pipe."""
    if stream is None or not stream.isatty():
        return line
    return wrap_line(line, Console(file=stream).width)


def wrap_line(line: str, width: int) -> str:
    """Break a line between words into rows of at most `width` columns, later ones indented unless a word needs all columns."""
    label = LABEL.match(line)
    assert label is not None
    indent = label.end() if label[2] else len(label[1]) + INDENT
    if indent > width // 2:
        indent = INDENT
    rows, row = [], label[0]
    for word in line[label.end() :].split(" "):
        longer = row + word if row == label[0] else f"{row} {word}"
        if cell_len(longer) <= width or not row.strip():
            row = longer
            continue
        rows.append(row.rstrip())
        row = word.rjust(len(word) + indent) if indent + cell_len(word) <= width else word
    return "\n".join([*rows, row])
