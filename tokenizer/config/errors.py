"""One sentence for the errors that pydantic finds in a config; it begins with the dotted path of the key."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from .choices import UNKNOWN_NAME, field_sections
from .hints import nearest, shown, wanted

UNKNOWN_KEY = ("extra_forbidden", "invalid_key")


class ConfigError(ValueError):
    """An error in a config; the message begins with the dotted path of the key."""


def unknown_choice(what: str, path: str, got: str, known: Sequence[str], elsewhere: Sequence[str] = ()) -> str:
    """Say that `got` is none of `known`, and suggest the nearest of them or of the dotted paths `elsewhere`."""
    near = nearest(got, known, elsewhere)
    if near is not None and near not in known:
        return f"{path} is not a known {what}: did you mean {near!r}?"
    hint = f"did you mean {near!r}? " if near else ""
    return f"{path} is not a known {what}: {hint}choose from {', '.join(sorted(known))}."


def first_error(config_class: type[BaseModel], values: Any, errors: list[ErrorDetails], section: str) -> ConfigError:
    """Return the sentence for the first error; unknown keys come first."""
    first = next((error for error in errors if error["type"] in UNKNOWN_KEY), errors[0])
    path = _keys(first, values)
    key = ".".join(([section] if section else []) + path)
    if first["type"] in UNKNOWN_KEY:
        known = list(_owner(config_class, values, path[:-1]).model_fields)
        elsewhere = [f"{section}.{other}" if section else other for other in _paths(config_class, values)]
        return ConfigError(unknown_choice("key", key, path[-1], known, elsewhere))
    if first["type"] == "missing" and path[-1].isdecimal():
        return ConfigError(f"{key.rpartition('.')[0]} is {shown(first['input'])}, but must be a longer list.")
    if first["type"] == "missing":
        field = _owner(config_class, values, path[:-1]).model_fields.get(path[-1])
        return ConfigError(f"{key} is missing: set it{_described(field, path[-1], key)}.")
    if first["type"] == UNKNOWN_NAME:
        return _unknown_name(key, **first["ctx"])
    if first["type"] == "value_error":
        cause = first["ctx"]["error"]
        return ConfigError(f"{key}: {cause}" if key else str(cause))
    # Each member of a union reports an error of its own for the same value.
    alike = [
        error for error in errors if _keys(error, values) == path and error["type"] not in ("missing", "value_error")
    ]
    phrases = [wanted(error["type"], error.get("ctx", {}), error["msg"]) for error in alike]
    got = "empty" if first["input"] is None else shown(first["input"])
    return ConfigError(f"{key or 'the config'} is {got}, but must be {' or '.join(dict.fromkeys(phrases))}.")


def _unknown_name(section: str, got: str, shown: str, known: Sequence[str]) -> ConfigError:
    """Say that the name in a section is not in its table; the section's last key says what is chosen."""
    what = next((part for part in reversed(section.split(".")) if part and not part.isdecimal()), "choice")
    return ConfigError(unknown_choice(what, f"{section}.name {shown}".lstrip("."), got, known))


def _keys(error: ErrorDetails, values: Any) -> list[str]:
    """Return the path of keys to an error, without the names that pydantic gives the members of unions."""
    path = []
    for part in error["loc"]:
        if _holds(values, part):
            values = values[part]
        elif isinstance(part, str) and (not part.isidentifier() or part in ("int", "float", "str", "bool", "tuple")):
            continue
        path.append(str(part))
    return path


def _holds(values: Any, part: str | int) -> bool:
    if isinstance(values, list | tuple):
        return isinstance(part, int) and part < len(values)
    return isinstance(values, Mapping) and part in values


def _inside(values: Any, part: str) -> Any:
    if isinstance(values, list | tuple):
        return values[int(part)] if part.isdecimal() and int(part) < len(values) else None
    return values.get(part) if isinstance(values, Mapping) else None


def _described(field: FieldInfo | None, name: str, key: str) -> str:
    example = f" with {key}={field.examples[0]}" if field and field.examples else ""
    description = field.description if field and field.description else f"{name} section"
    first = re.split(r"[.;,]", description)[0].strip()
    return f"{example} ({first[:1].lower() + first[1:]})"


def _owner(config_class: type[BaseModel], values: Any, path: list[str]) -> type[BaseModel]:
    """Return the config class at a path of keys, as far as the fields lead there."""
    owner = config_class
    for part in path:
        values = _inside(values, part)
        if part in owner.model_fields:
            owner = next(iter(_sections(owner.model_fields[part], values)), owner)
    return owner


def _sections(field: FieldInfo, values: Any) -> list[type[BaseModel]]:
    """Return the config that the values of a field name, or else all that it takes."""
    sections = field_sections(field)
    name = values.get("name") if isinstance(values, Mapping) else None
    return [sections[name]] if isinstance(name, str) and name in sections else list(sections.values())


def _paths(config_class: type[BaseModel], values: Any, inside: tuple[type[BaseModel], ...] = ()) -> list[str]:
    """Return the dotted paths of all keys, those of inner sections after those of outer ones."""
    outer, inner = [], []
    for name, field in config_class.model_fields.items():
        outer.append(name)
        below = _inside(values, name)
        for section in _sections(field, below):
            if section not in inside:  # a choice may name a table that its own owner is in
                inner += [f"{name}.{path}" for path in _paths(section, below, (*inside, section))]
    return outer + list(dict.fromkeys(inner))
