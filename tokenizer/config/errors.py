"""One sentence for the errors that pydantic finds in a config; it begins with the dotted path of the key."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ..wording import shown, unknown_choice
from .choices import UNKNOWN_NAME, field_sections

WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_unicode": "text",
    "path_type": "a path",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a section of keys and values",
    "mapping_type": "a section of keys and values",
    "model_type": "a section of keys and values",
    "none_required": "empty",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
}
"""What a value must be, by pydantic's types of errors; braces are filled from the context of an error."""

UNKNOWN_KEY = ("extra_forbidden", "invalid_key")


class ConfigError(ValueError):
    """An error in a config; the message begins with the dotted path of the key."""


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
        what = next((part for part in reversed(key.split(".")) if part and not part.isdecimal()), "choice")
        name, context = f"{key}.name".lstrip("."), first["ctx"]
        return ConfigError(unknown_choice(what, f"{name} {context['shown']}", context["got"], context["known"]))
    if first["type"] == "value_error":
        cause = first["ctx"]["error"]
        return ConfigError(f"{key}: {cause}" if key else str(cause))
    # Each member of a union reports its own error for the same value.
    alike = [
        error for error in errors if _keys(error, values) == path and error["type"] not in ("missing", "value_error")
    ]
    phrases = [_wanted(error["type"], error.get("ctx", {}), error["msg"]) for error in alike]
    got = "empty" if first["input"] is None else shown(first["input"])
    return ConfigError(f"{key or 'the config'} is {got}, but must be {' or '.join(dict.fromkeys(phrases))}.")


def _wanted(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind in WANTED:
        return WANTED[kind].format_map({name: _plain(value) for name, value in context.items()})
    words = message.removeprefix("Input should be ")
    return words[:1].lower() + words[1:]


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
    key = int(part) if part.isdecimal() and isinstance(values, list | tuple) else part
    return values[key] if _holds(values, key) else None


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
