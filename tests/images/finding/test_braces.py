import itertools

import pytest
from braceexpand import braceexpand

from vistok.images.finding import braces
from vistok.images.finding.braces import spelled_out


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a{0..9}", 10),
        ("{0000..0123}.tar", 124),
        ("{5..-5}", 11),
        ("{-05..5..3}", 4),
        ("{9..0..4}{a..c}", 9),
        ("{a,b{1..3},{c,d}{x,y}}", 8),
        ("{a..i..4}", 3),
        ("{Z..b}", 3),
        ("{1..3..0}", 3),
        ("{x}{}{,}", 2),
        (r"\{1..3\}{1..2}", 2),
        ("{{1..3}}", 3),
        ("}{", 1),
    ],
)
def test_paths_are_counted_before_they_are_spelled_out(monkeypatch, text, count):
    expected = list(braceexpand(text))
    assert len(expected) == count
    monkeypatch.setattr(braces, "MAX_PATHS", count)
    assert list(spelled_out(text, "")) == expected
    monkeypatch.setattr(braces, "MAX_PATHS", count - 1)
    with pytest.raises(ValueError, match="stands for more than"):
        spelled_out(text, "")


def test_every_short_pattern_is_counted_as_it_is_spelled_out(monkeypatch):
    tokens = ["{", "}", ",", "a", "{1..3}", "\\", "{b..a}"]
    for pattern in map("".join, itertools.product(tokens, repeat=4)):
        try:
            expected = list(braceexpand(pattern))
        except ValueError:
            if "{" in pattern:
                with pytest.raises(ValueError, match="has a brace without its partner"):
                    spelled_out(pattern, "")
            continue
        if "{" in pattern:
            monkeypatch.setattr(braces, "MAX_PATHS", len(expected))
            assert list(spelled_out(pattern, "")) == expected
            monkeypatch.setattr(braces, "MAX_PATHS", len(expected) - 1)
            with pytest.raises(ValueError, match="stands for more than"):
                spelled_out(pattern, "")


@pytest.mark.parametrize(
    "text", ["{0..999999999999}", "{0..999}" * 3, "{a,b}" * 40, "{a,{b,{-9999999999..0}}}", "{0..%s}" % ("9" * 5000)]
)
def test_too_many_paths_are_refused_at_once(text):
    with pytest.raises(
        ValueError, match=r"^in l.txt, line 3: .* stands for more than 1,000,000 paths: write smaller ranges\.$"
    ):
        spelled_out(text, "in l.txt, line 3: ")


def test_a_million_paths_are_not_too_many():
    assert next(iter(spelled_out("{000..999}{a,b}{000..499}", ""))) == "000a000"


def test_too_many_braces_within_braces():
    with pytest.raises(ValueError, match=r"\.\.\. has too many braces within braces: write several\.$"):
        spelled_out("{" * 1000 + "a" + "}" * 1000, "")


def test_names_without_braces_are_left_alone():
    assert list(spelled_out(r"a\b}.png", "")) == [r"a\b}.png"]
