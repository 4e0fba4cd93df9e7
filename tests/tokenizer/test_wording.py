"""Counts and lists in messages."""

from vistok.tokenizer.wording import did_you_mean, first_lines, list_first, pluralize, unknown_choice


def test_counts_have_their_nouns():
    assert [pluralize(count, "image") for count in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


def test_long_lists_are_cut_and_the_rest_is_counted():
    assert [list_first(list("abcd")[:count], 2) for count in range(5)] == [
        "",
        "a",
        "a, b",
        "a, b and 1 more",
        "a, b and 2 more",
    ]
    assert first_lines(["a", "b"], 2, "the log") == ["a", "b"]
    assert first_lines(["a", "b", "c"], 2, "the log") == ["a", "b", "... and 1 more, see the log"]
    assert first_lines(["a", "b", "c"], 2, "the log", 9) == ["a", "b", "... and 7 more, see the log"]


def test_an_unknown_name_gets_a_suggestion_and_the_choices():
    assert unknown_choice("shape", "name 'cirle'", "cirle", ["square", "circle"]) == (
        "name 'cirle' is not a known shape: did you mean 'circle'? Otherwise choose from circle, square."
    )
    assert unknown_choice("shape", "name 'x'", "x", ["circle"]) == "name 'x' is not a known shape: choose from circle."
    assert unknown_choice("key", "a.radius", "radius", ["sides"], ["b.radius"]) == (
        "a.radius is not a known key: did you mean 'b.radius'?"
    )
    assert did_you_mean(None, "give a path.") == "give a path."
