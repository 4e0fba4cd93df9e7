"""What every key of a config takes, gathered from the fields of its sections."""

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..tokenizer.config.choices import field_choice, field_sections
from .losses.criteria import CRITERIA

NAMED_SECTIONS: Mapping[str, Mapping[str, type[BaseModel]]] = {"criteria": CRITERIA}
"""Tables of the keys that hold a section for each name of a table."""
WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path", type(None): "none"}
REQUIRED = "required"
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


class Key(NamedTuple):
    """A key as users type it."""

    path: str
    type: str
    default: str
    sentence: str


class Section(NamedTuple):
    """The keys of one config."""

    path: str
    """Ends with a name where the config is chosen from a table; empty for the whole config."""
    sentence: str
    keys: list[Key]
    is_chosen: bool
    """Whether it is, or lies in, a config chosen from a table."""


def config_sections(config_class: type[BaseModel]) -> Iterator[Section]:
    """Yield the sections of a config, outer ones first; a config that several tables hold comes once."""
    return _sections(config_class, "", "", False, set())


def _sections(
    config_class: type[BaseModel], path: str, prefix: str, is_chosen: bool, seen: set[object]
) -> Iterator[Section]:
    keys, inner = [], []
    for name, field in config_class.model_fields.items():
        key = f"{prefix}{name}"
        choice = field_choice(field)
        table = choice.table if choice else NAMED_SECTIONS.get(key)
        keys.append(Key(key, _type_of(field, table), _default(field), _sentence(field)))
        for entry, section in (table or field_sections(field)).items():
            below = f"{path}.{name}".lstrip(".")
            inside = f"{key}.{entry}." if key in NAMED_SECTIONS else f"{key}."
            known = section if choice else (section, inside)
            if known not in seen:
                seen.add(known)
                inner.append((section, f"{below}.{entry}" if table else below, inside, is_chosen or bool(table)))
    yield Section(path, _first_sentence(config_class.__doc__ or ""), keys, is_chosen)
    for section, below, inside, chosen in inner:
        yield from _sections(section, below, inside, chosen, seen)


def _sentence(field: FieldInfo) -> str:
    """Return a field's sentence; a section without one has that of its config."""
    docs = [config.__doc__ or "" for config in field_sections(field).values()]
    return " ".join((field.description or "").split()) or (_first_sentence(docs[0]) if docs else "")


def _first_sentence(doc: str) -> str:
    return " ".join(doc.strip().split("\n\n")[0].split())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return REQUIRED
    return _shown(field.get_default(call_default_factory=True))


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_shown(each)}' for key, each in value.items())}}}"
    return (
        {True: "true", False: "false", None: "none"}.get(value, str(value))
        if isinstance(value, bool | None)
        else str(value)
    )


def _type_of(field: FieldInfo, table: Mapping[str, type[BaseModel]] | None) -> str:
    if table:
        optional = " or none" if type(None) in typing.get_args(field.annotation) else ""
        return f"section by name: {', '.join(table)}{optional}"
    return _words(field.annotation, field.metadata)


def _words(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Return the type of a value in words, with its bounds."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        inner = [each for part in parts[1:] for each in (part.metadata if isinstance(part, FieldInfo) else [part])]
        return _words(parts[0], [*inner, *metadata])
    if origin in (typing.Union, types.UnionType):
        text = " or ".join(dict.fromkeys(map(_words, parts)))
    elif origin is Literal:
        text = " or ".join(map(_shown, parts))
    elif origin is list:
        text = f"list of {_words(parts[0])}"
    elif origin is tuple:
        text = f"list of {len(parts)}: {_words(parts[0])}"
    elif origin is dict:
        text = f"section of {_words(parts[1])}"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        text = "section"
    else:
        text = WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    bounds = [
        f"{words} {getattr(each, name)}" for each in metadata for name, words in BOUNDS.items() if hasattr(each, name)
    ]
    return ", ".join([text, *bounds])
