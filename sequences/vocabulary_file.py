"""A vocabulary as JSON: strict when read, one line a list when written."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..tokenizer.wording import shown, unknown_choice
from .modality import Modality, is_id
from .numbers import NumberText

KEYS = ("modalities", "unused", "text_tokenizer", "numbers")
MAPS = {"structure": "ids", "names": "names of tokens"}
LIST = re.compile(r"\[\n\s*([^\[\]{}]*?)\n\s*\]")
"""A list that json.dumps has indented; the strings of JSON have no line ends, so that none of them looks like one."""


def as_json(values: Mapping[str, Any]) -> str:
    """Return indented JSON with each innermost list on a line."""
    text = json.dumps(values, indent=2, ensure_ascii=False)
    return LIST.sub(lambda found: "[" + re.sub(r"\s*\n\s*", " ", found[1]) + "]", text) + "\n"


def vocabulary_fields(values: Any) -> dict[str, Any]:
    """Return the fields of a vocabulary from plain data; raise ValueError for unknown and missing keys and wrong types."""
    keys = _keys("the vocabulary", values, KEYS, optional=["unused", "text_tokenizer", "numbers"])
    numbers = keys.get("numbers")
    return {
        "modalities": [_modality(part) for part in _list("modalities", keys["modalities"])],
        "unused": [_pair("unused", part) for part in _list("unused", keys.get("unused", []))],
        "text_tokenizer": keys.get("text_tokenizer"),
        "numbers": None if numbers is None else _numbers(numbers),
    }


def _modality(values: Any) -> Modality:
    keys = _keys("a modality", values, ["name", "offsets", "size", *MAPS, "more"], optional=[*MAPS, "more"])
    maps = {key: keys.get(key, {}) for key in MAPS}
    for key, what in MAPS.items():
        if not isinstance(maps[key], Mapping):
            raise ValueError(f"{key} is {shown(maps[key])}, but must map roles to {what}.")
    more = [_pair("more", part) for part in _list("more", keys.get("more", []))]
    return Modality(keys["name"], tuple(_list("offsets", keys["offsets"])), keys["size"], **maps, more=tuple(more))


def _numbers(values: Any) -> NumberText:
    keys = _keys("numbers", values, ["separator", "heads", "tails"])
    if not isinstance(keys["separator"], str):
        raise ValueError(f"separator is {shown(keys['separator'])}, but must be a string.")
    return NumberText(keys["separator"], *(_spellings(part, keys[part]) for part in ("heads", "tails")))


def _spellings(name: str, values: Any) -> tuple[tuple[int, ...], ...]:
    spellings = tuple(tuple(_list(name, ids)) for ids in _list(name, values))
    for ids in spellings:
        if not all(map(is_id, ids)):
            raise ValueError(f"{name} have {shown(ids)}, but must be lists of ids from 0 on.")
    return spellings


def _pair(name: str, values: Any) -> tuple[int, int]:
    if not (isinstance(values, Sequence) and len(values) == 2 and all(map(is_id, values)) and values[0] < values[1]):
        raise ValueError(f"{name} has {shown(values)}, but must have pairs of a first id and the one after the last.")
    return values[0], values[1]


def _list(name: str, values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError(f"{name} is {shown(values)}, but must be a list.")
    return values


def _keys(what: str, values: Any, known: Sequence[str], optional: Sequence[str] = ()) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ValueError(f"{what} is {shown(values)}, but must be an object.")
    for key in values:
        if key not in known:
            raise ValueError(unknown_choice(f"key of {what}", repr(key), key, known))
    for key in known:
        if key not in values and key not in optional:
            raise ValueError(f"{what} has no {key}: write it again with Vocabulary.save.")
    return values
