"""A row of packed ids and the documents in it, before it is written and after it is read back."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from ..token_shards.token_samples import parse_json


class PackedDocument(NamedTuple):
    """One image with its text, as ids of a row."""

    key: str
    """That of the image in the token shard."""
    span: tuple[int, int]
    """First id in the row, and the end."""
    image: tuple[int, int]
    """The same for the ids that the layout gave."""
    grid: tuple[int, int, int]
    """Sizes of the tokens `q y x`."""
    tokens: str
    """`digest_of` the tokens, by which whoever reads the ids proves that they are the same."""
    text: str
    """`digest_of` the text before and after the image."""
    source: str
    """These three as in the metadata of the token shard."""
    width: int
    height: int


class PackedRow(NamedTuple):
    """A row: documents one after another, and padding."""

    ids: np.ndarray
    """`n`, of the type in the manifest."""
    loss: np.ndarray
    """uint8 `n`: 1 where there is a loss."""
    documents: Sequence[PackedDocument]


def documents_to_json(documents: Sequence[PackedDocument]) -> str:
    """Return the documents of a row as one line of JSON."""
    return json.dumps([document._asdict() for document in documents])


def documents_from_json(text: str | bytes, length: int) -> list[PackedDocument]:
    """Return the documents of a row of `length` ids; raise ValueError, with a phrase, unless they can be in it."""
    rows = parse_json(text)
    if not isinstance(rows, list) or not rows:
        raise ValueError("the documents of a row are missing or damaged")
    documents = list(map(_document, rows))
    end = 0
    for document in documents:
        (first, last), (begin, stop) = document.span, document.image
        if not (end == first <= begin < stop <= last <= length):
            raise ValueError(
                f"{document.key}: its span {[first, last]} and its image {[begin, stop]} are not in the row"
            )
        end = last
    return documents


def _document(values: Any) -> PackedDocument:
    if not isinstance(values, dict) or set(values) != set(PackedDocument._fields):
        raise ValueError("the documents of a row are missing or damaged")
    texts = [values[name] for name in ("key", "tokens", "text", "source")]
    numbers = [values["width"], values["height"]]
    sides = values["grid"]
    if not (
        all(isinstance(text, str) for text in texts)
        and _are_integers(numbers, 2)
        and _are_integers(sides, 3)
        and all(_are_integers(values[name], 2) for name in ("span", "image"))
        and min(*numbers, *sides) > 0
    ):
        raise ValueError("the documents of a row are missing or damaged")
    return PackedDocument(**(values | {name: tuple(values[name]) for name in ("span", "image", "grid")}))


def _are_integers(values: Any, count: int) -> TypeGuard[list[int]]:
    return isinstance(values, list) and len(values) == count and all(type(value) is int for value in values)
