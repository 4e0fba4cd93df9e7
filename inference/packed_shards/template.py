"""What a document is made of: text, members of a sample such as its caption, and the image."""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import NamedTuple

from ..token_shards.token_samples import parse_json

IMAGE = "image"
CAPTION = "caption"
ORDERS = {"caption-image": "{caption}{image}", "image-caption": "{image}{caption}"}
EXAMPLE = "'{caption}{image}'"


class MissingCaptionError(Exception):
    """A sample lacks a member that the template names, or it is empty; the argument is its name."""


class Piece(NamedTuple):
    """Text of a template, or the member of a sample that is put in its place."""

    text: str
    is_member: bool


class Template(NamedTuple):
    """The pieces before and after the image."""

    before: tuple[Piece, ...]
    after: tuple[Piece, ...]

    def render(self, members: Mapping[str, bytes]) -> tuple[str, str]:
        """Return the text before and after the image.

        Raises MissingCaptionError when a member is missing or empty, and ValueError, with a phrase, when one is no text.
        """
        before, after = (
            "".join(member_text(piece.text, members) if piece.is_member else piece.text for piece in pieces)
            for pieces in self
        )
        return before, after

    def member_names(self) -> list[str]:
        """Return the members that it names."""
        return [piece.text for piece in (*self.before, *self.after) if piece.is_member]

    def caption_of(self, before: str, after: str) -> str:
        """Return the caption of rendered texts: without the template's own text where that is around a single member."""
        found = []
        for pieces, text in ((self.before, before), (self.after, after)):
            if not any(piece.is_member for piece in pieces):
                continue
            names = [index for index, piece in enumerate(pieces) if piece.is_member]
            if len(names) == 1:
                head = "".join(piece.text for piece in pieces[: names[0]])
                tail = "".join(piece.text for piece in pieces[names[0] + 1 :])
                text = text.removeprefix(head).removesuffix(tail)
            found.append(text)
        return "".join(found)


def parse_template(text: str, caption: str = "txt") -> Template:
    """Parse a template such as `A photo: {caption}{image}`; `caption` is the member that {caption} stands for.

    Other names in braces are members too, such as {txt} or {json.title}; {{ and }} are braces. Raises ValueError unless it
    has the image once.
    """
    sides: list[list[Piece]] = [[]]
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"--template is {text!r}, which cannot be read ({error}): write it as {EXAMPLE}.") from None
    for literal, name, spec, conversion in parsed:
        if literal:
            sides[-1].append(Piece(literal, False))
        if name is None:
            continue
        if spec or conversion or not name or name != name.strip():
            raise ValueError(
                f"--template is {text!r}, but a name in braces must be caption, image, or a member such as txt or json.title."
            )
        if name == IMAGE:
            sides.append([])
        else:
            sides[-1].append(Piece(caption if name == CAPTION else name, True))
    if len(sides) != 2:
        raise ValueError(
            f"--template is {text!r}, with {len(sides) - 1} images, but a document has one: write {{image}} once, as in "
            f"{EXAMPLE}."
        )
    return Template(tuple(sides[0]), tuple(sides[1]))


def member_text(name: str, members: Mapping[str, bytes]) -> str:
    """Return the text of a member by its extension, or of a key of a .json member such as json.title or json.captions.0.

    Raises MissingCaptionError when there is none, and ValueError, with a phrase, when it is no text.
    """
    extension, keys = _split(name, members)
    content = members[extension]
    if not keys:
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise ValueError(f"its .{extension} is not UTF-8") from None
    else:
        text = _at(parse_json(content), keys, extension)
    if not text.strip():
        raise MissingCaptionError(name)
    return text


def extensions_of(name: str) -> list[str]:
    """Return the extensions of the files that a member may be in, the longest first: json.title, then json."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _split(name: str, members: Mapping[str, bytes]) -> tuple[str, Sequence[str]]:
    for extension in extensions_of(name):
        if extension in members:
            return extension, name.removeprefix(extension).split(".")[1:]
    raise MissingCaptionError(name)


def _at(value: object, keys: Sequence[str], extension: str) -> str:
    if value is None:
        raise ValueError(f"its .{extension} is no JSON")
    for key in keys:
        if isinstance(value, list) and key.isdecimal():
            value = value[int(key)] if int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        raise MissingCaptionError(".".join([extension, *keys]))
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise ValueError(f"its {'.'.join([extension, *keys])} is a {type(value).__name__}, not text")
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise ValueError(f"its {'.'.join([extension, *keys])} has half a character in it, which is no text") from None
    return str(value)
