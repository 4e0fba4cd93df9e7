"""Templates of documents: text, members of a sample, and the image."""

import re

import pytest

from vistok.inference.packed_shards.template import ORDERS, MissingCaptionError, parse_template

MEMBERS = {
    "txt": b"a cat\n",
    "json": b'{"title": "T", "size": {"w": 3, "tags": ["x"]}, "none": null, "yes": true, "all": ["A", "B"]}',
    "seg.txt": b"segments",
    "bin": b"\xff\xfe",
    "empty": b" \n",
    "damaged": b"{",
    "half": b'{"a": "\\ud800"}',
}


@pytest.mark.parametrize(
    ("template", "before", "after"),
    [
        (ORDERS["caption-image"], "a cat\n", ""),
        (ORDERS["image-caption"], "", "a cat\n"),
        ("{image}", "", ""),
        ("A {{photo}}: {txt}{image}.", "A {photo}: a cat\n", "."),
        ("{json.title} {json.size.w}{image}{seg.txt}", "T 3", "segments"),
        ("{json.all.1}{image}{json.size.tags.0}", "B", "x"),
        ("{txt}{txt}{image}", "a cat\na cat\n", ""),
    ],
)
def test_texts_before_and_after_the_image(template, before, after):
    assert parse_template(template).render(MEMBERS) == (before, after)


def test_the_caption_may_be_any_member():
    assert parse_template("{caption}{image}", "json.title").render(MEMBERS) == ("T", "")
    assert parse_template("{caption}{image}", "seg.txt").render({"seg.txt": "é".encode()}) == ("é", "")


@pytest.mark.parametrize(
    "name", ["caption", "json.nothing", "json.size.w.x", "json.none", "json.all.2", "json.all.a", "empty", "other.txt"]
)
def test_what_is_not_there_or_empty_is_missing(name):
    with pytest.raises(MissingCaptionError):
        parse_template(f"{{image}}{{{name}}}", "cls").render(MEMBERS)


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("bin", "its .bin is not UTF-8"),
        ("damaged.title", "its .damaged is no JSON"),
        ("json.size", "its json.size is a dict, not text"),
        ("json.size.tags", "its json.size.tags is a list, not text"),
        ("json.yes", "its json.yes is a bool, not text"),
        ("half.a", "its half.a has half a character in it, which is no text"),
    ],
)
def test_a_member_that_is_no_text_is_a_phrase(name, phrase):
    with pytest.raises(ValueError, match=re.escape(phrase)):
        parse_template(f"{{{name}}}{{image}}").render(MEMBERS)


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (
            "{caption}",
            "--template is '{caption}', with 0 images, but a document has one: write {image} once, as in '{ca",
        ),
        ("{image}{image}", "--template is '{image}{image}', with 2 images, but a document has one: write {image} once"),
        ("{image}{", "--template is '{image}{', which cannot be read ("),
        (
            "{image}{}",
            "--template is '{image}{}', but a name in braces must be caption, image, or a member such as txt or",
        ),
        ("{image}{txt!r}", "but a name in braces must be caption, image, or a member such as txt or json.title."),
        ("{image}{txt:>3}", "but a name in braces must be caption, image, or a member such as txt or json.title."),
    ],
)
def test_a_wrong_template_is_a_sentence(template, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse_template(template)


@pytest.mark.parametrize(
    ("template", "caption"),
    [
        ("{caption}{image}", "a cat\n"),
        ("Look: {txt}!{image} done", "a cat\n"),
        ("{image} {json.title}: {txt}", " T: a cat\n"),
        ("{json.title}{image}{txt}", "Ta cat\n"),
        ("no caption{image}", ""),
    ],
)
def test_the_caption_comes_back_without_the_text_around_it(template, caption):
    parsed = parse_template(template)
    assert parsed.caption_of(*parsed.render(MEMBERS)) == caption
