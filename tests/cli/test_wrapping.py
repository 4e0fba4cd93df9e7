"""Lines on a terminal: nothing breaks in mid-word."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len

import vistok
from vistok.cli.wrapping import wrapped

PARENT = Path(vistok.__file__).parents[1]
CODEBOOK = "codebook    usage 48.7%, perplexity 18,848 of 64,800 codes over 102,400,000,000 tokens"
SENTENCE = "tokenize-images: tokens was made with size 256, not 128: use another --out folder, or --overwrite."


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("short", ["short"]),
        ("", [""]),
        (
            CODEBOOK,
            [
                "codebook    usage 48.7%, perplexity",
                "            18,848 of 64,800 codes over",
                "            102,400,000,000 tokens",
            ],
        ),
        (
            "  failed: a.jpg: the file cannot be read now",
            ["  failed: a.jpg: the file cannot be read", "    now"],
        ),
        ("report      " + "x" * 39, ["report", "x" * 39]),
        ("report      " + "x" * 60, ["report", "x" * 60]),
        ("a  b.png " * 5, ["a  b.png a  b.png a  b.png a  b.png a", "   b.png "]),
        ("写真" * 9 + " 写真写真", ["写真" * 9, "  写真写真"]),
    ],
)
def test_lines_break_between_words_and_hang_below_their_text(line, rows):
    assert wrapped(line, 40).split("\n") == rows


@pytest.mark.parametrize("width", [1, 5, 20, 40, 80, 200])
@pytest.mark.parametrize("line", [CODEBOOK, SENTENCE, "  damaged: " + SENTENCE])
def test_no_word_is_lost_or_broken_at_any_width(line, width):
    rows = wrapped(line, width).split("\n")
    assert " ".join(rows).split() == line.split()
    assert all(cell_len(row) <= width or len(row.split()) == 1 for row in rows)


def test_only_a_terminal_gets_broken_lines():
    code = f"from vistok.cli.terminal import say; say({CODEBOOK!r}); say({SENTENCE!r}, aside=True)"
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    environment |= {"PYTHONPATH": str(PARENT), "TERM": "xterm"}
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert (piped.stdout, piped.stderr) == (CODEBOOK + "\n", SENTENCE + "\n")
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(parent, "rb", buffering=0) as read:
        subprocess.run(
            [sys.executable, "-c", code], stdin=child, stdout=child, stderr=child, check=True, env=environment
        )
        shown = read.read(10_000).decode().replace("\r\n", "\n")
        os.close(child)
    assert shown == wrapped(CODEBOOK, 80) + "\n" + wrapped(SENTENCE, 80) + "\n"
    assert max(map(len, shown.splitlines())) <= 80 < len(CODEBOOK)
