"""Lines on a terminal break between words, names are escaped, and JSON is one line."""

import json
from pathlib import Path

import pytest
from rich.cells import cell_len

from processes import run_on_terminal, run_python
from vistok.cli.printing import escape_unprintable, print_json, say, wrap_line

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
    assert wrap_line(line, 40).split("\n") == rows


@pytest.mark.parametrize("width", [1, 5, 20, 40, 80, 200])
@pytest.mark.parametrize("line", [CODEBOOK, SENTENCE, "  damaged: " + SENTENCE])
def test_no_word_is_lost_or_broken_at_any_width(line, width):
    rows = wrap_line(line, width).split("\n")
    assert " ".join(rows).split() == line.split()
    assert all(cell_len(row) <= width or len(row.split()) == 1 for row in rows)


def test_only_a_terminal_gets_broken_lines():
    code = f"from vistok.cli.printing import say; say({CODEBOOK!r}); say({SENTENCE!r}, aside=True)"
    piped = run_python("-c", code)
    assert (piped.stdout, piped.stderr) == (CODEBOOK + "\n", SENTENCE + "\n")
    shown = run_on_terminal(code, columns=80)
    assert shown == [*wrap_line(CODEBOOK, 80).split("\n"), *wrap_line(SENTENCE, 80).split("\n")]
    assert max(map(len, shown)) <= 80 < len(CODEBOOK)


def test_unprintable_characters_of_names_are_escaped(capsys):
    hostile = "a\x1b]0;title\x07\n\r\t\x9b\udce9\u202e.png"
    assert escape_unprintable(hostile) == "a\\x1b]0;title\\x07\\n\\r\\t\\x9b\\udce9\\u202e.png"
    assert escape_unprintable("café 写真\u3000\u00a0ñ.jpg") == "café 写真\u3000\u00a0ñ.jpg"
    say(hostile)
    say(hostile, aside=True)
    assert capsys.readouterr() == (escape_unprintable(hostile) + "\n",) * 2


def test_json_is_one_line(capsys):
    print_json({"a": Path("x"), "b": [1, None], "c": "a\nb\udce9"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and json.loads(out) == {"a": "x", "b": [1, None], "c": "a\nb\udce9"}
