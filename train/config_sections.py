"""The keys of a config and what each takes, in words, gathered from the fields of its sections."""

import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..tokenizer.config.choices import field_choice, field_sections
from .losses.criteria import CRITERIA

Sections: TypeAlias = Mapping[str, type[BaseModel]]
NOUNS = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path", type(None): "none"}
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


class Key(NamedTuple):
    """A key as users type it."""

    path: str
    type: str
    default: str | None
    """None where the key is required."""
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
    seen: set[object] = set()
    pending: list[tuple[type[BaseModel], str, str, bool]] = [(config_class, "", "", False)]
    while pending:
        config_class, path, prefix, is_chosen = pending.pop()
        keys, inner = [], []
        for name, field in config_class.model_fields.items():
            key, below = f"{prefix}{name}", f"{path}.{name}".lstrip(".")
            choice, sections = field_choice(field), field_sections(field)
            is_named = key == "criteria"  # it holds a section for each name of its table
            table = CRITERIA if is_named else choice.entries() if choice else None
            keys.append(_key(key, field, sections, table))
            for entry, section in (table or sections).items():
                inside = f"{key}.{entry}." if is_named else f"{key}."
                known = section if choice else (section, inside)
                if known not in seen:
                    seen.add(known)
                    inner.append((section, f"{below}.{entry}" if table else below, inside, is_chosen or bool(table)))
        yield Section(path, _first_sentence(config_class.__doc__), keys, is_chosen)
        pending += reversed(inner)


def _key(path: str, field: FieldInfo, sections: Sections, table: Sections | None) -> Key:
    optional = ", or none" if type(None) in typing.get_args(field.annotation) else ""
    words = f"section by name: {', '.join(table)}{optional}" if table else _words(field.annotation, field.metadata)
    default = None if field.is_required() else _shown(field.get_default(call_default_factory=True))
    docs = [field.description, *(section.__doc__ for section in sections.values())]
    return Key(path, words, default, next(filter(None, map(_first_sentence, docs)), ""))


def _first_sentence(doc: str | None) -> str:
    return " ".join((doc or "").strip().split("\n\n")[0].split())


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_shown(each)}' for key, each in value.items())}}}"
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def _words(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Return the type of a value in words, with its bounds."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        inner = [each for part in parts[1:] for each in (part.metadata if isinstance(part, FieldInfo) else [part])]
        return _words(parts[0], [*inner, *metadata])
    if origin in (typing.Union, types.UnionType, Literal):
        *first, last = dict.fromkeys(map(_shown if origin is Literal else _words, parts))
        comma = "," if any("," in each for each in first) else ""
        text = f"{', '.join(first)}{comma} or {last}" if first else last
    elif origin in (list, tuple, dict):
        start = {list: "list of", tuple: f"list of {len(parts)}", dict: "section of"}[origin]
        item = re.sub("^(section|number|whole number|text|path)", r"\1s", _words(parts[origin is dict]))
        text = f"{start} {item}"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        text = "section"
    else:
        text = NOUNS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    bounds = [
        f"{bound} {getattr(each, name)}" for each in metadata for name, bound in BOUNDS.items() if hasattr(each, name)
    ]
    return ", ".join([text, *bounds])
