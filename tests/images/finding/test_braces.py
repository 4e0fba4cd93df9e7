import itertools

import pytest
from braceexpand import braceexpand

from vistok.images.finding import braces
from vistok.images.finding.braces import expand_braces


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
def test_paths_are_counted_before_they_are_expand_braces(monkeypatch, text, count):
    expected = list(braceexpand(text))
    assert len(expected) == count
    monkeypatch.setattr(braces, "MAX_PATHS", count)
    assert list(expand_braces(text, "")) == expected
    monkeypatch.setattr(braces, "MAX_PATHS", count - 1)
    with pytest.raises(ValueError, match="expands to more than"):
        expand_braces(text, "")


def test_every_short_pattern_is_counted_as_it_is_expand_braces(monkeypatch):
    tokens = ["{", "}", ",", "a", "{1..3}", "\\", "{b..a}"]
    for pattern in map("".join, itertools.product(tokens, repeat=4)):
        try:
            expected = list(braceexpand(pattern))
        except ValueError:
            if "{" in pattern:
                with pytest.raises(ValueError, match="has unbalanced braces"):
                    expand_braces(pattern, "")
            continue
        if "{" in pattern:
            monkeypatch.setattr(braces, "MAX_PATHS", len(expected))
            assert list(expand_braces(pattern, "")) == expected
            monkeypatch.setattr(braces, "MAX_PATHS", len(expected) - 1)
            with pytest.raises(ValueError, match="expands to more than"):
                expand_braces(pattern, "")


@pytest.mark.parametrize(
    "text", ["{0..999999999999}", "{0..999}" * 3, "{a,b}" * 40, "{a,{b,{-9999999999..0}}}", "{0..%s}" % ("9" * 5000)]
)
def test_too_many_paths_are_refused_at_once(text):
    with pytest.raises(
        ValueError, match=r"^in l.txt, line 3: .* expands to more than 1,000,000 paths: write smaller ranges\.$"
    ):
        expand_braces(text, "in l.txt, line 3: ")


def test_a_million_paths_are_not_too_many():
    assert next(iter(expand_braces("{000..999}{a,b}{000..499}", ""))) == "000a000"


def test_too_many_braces_within_braces():
    with pytest.raises(ValueError, match=r"\.\.\. has too deeply nested braces: give several inputs\.$"):
        expand_braces("{" * 1000 + "a" + "}" * 1000, "")


def test_names_without_braces_are_left_alone():
    assert list(expand_braces(r"a\b}.png", "")) == [r"a\b}.png"]
