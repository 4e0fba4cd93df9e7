"""From what pydantic finds wrong in a config to one sentence, beginning with the dotted path of the key."""

import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from .config_hints import nearest, shown, wanted


class ConfigError(ValueError):
    """Something wrong in a config; the message begins with the dotted path of the key."""


class UnknownKeyError(ConfigError):
    """A key that no config has."""


def unknown_choice(what: str, path: str, got: str, known: Sequence[str], elsewhere: Sequence[str] = ()) -> str:
    """Say that `got` is none of `known`, and name the one that is meant, be it among the dotted paths `elsewhere`."""
    near = nearest(got, known, elsewhere)
    if near is not None and near not in known:
        return f"{path} is not a known {what}: did you mean {near!r}?"
    hint = f"did you mean {near!r}? " if near else ""
    return f"{path} is not a known {what}: {hint}choose from {', '.join(sorted(known))}."


def first_error(
    config_class: type[BaseModel], values: Mapping[str, Any], errors: list[ErrorDetails], section: str
) -> ConfigError:
    """Return the sentence for the first thing that is wrong; unknown keys come first."""
    first = next((error for error in errors if _is_unknown_key(error)), errors[0])
    path = _keys(first, values)
    key = ".".join(([section] if section else []) + path)
    if first["type"] in ("extra_forbidden", "invalid_key"):
        known = list(_owner(config_class, path[:-1]).model_fields)
        elsewhere = [f"{section}.{other}" if section else other for other in _paths(config_class)]
        return UnknownKeyError(unknown_choice("key", key, path[-1], known, elsewhere))
    if first["type"] == "missing" and path[-1].isdecimal():
        return ConfigError(f"{key.rpartition('.')[0]} is {shown(first['input'])}, but must be a longer list.")
    if first["type"] == "missing":
        return ConfigError(f"{key} is missing: set it{_described(config_class, path, key)}.")
    if first["type"] == "value_error":
        cause = first["ctx"]["error"]
        separator = "." if isinstance(cause, ConfigError) else ": "
        kind = UnknownKeyError if isinstance(cause, UnknownKeyError) else ConfigError
        return kind(f"{key}{separator}{cause}" if key else str(cause))
    # The members of a union complain one by one about the same value.
    alike = [
        error for error in errors if _keys(error, values) == path and error["type"] not in ("missing", "value_error")
    ]
    phrases = [wanted(error["type"], error.get("ctx", {}), error["msg"]) for error in alike]
    got = "empty" if first["input"] is None else shown(first["input"])
    return ConfigError(f"{key} is {got}, but must be {' or '.join(dict.fromkeys(phrases))}.")


def _is_unknown_key(error: ErrorDetails) -> bool:
    if error["type"] == "value_error":
        return isinstance(error["ctx"]["error"], UnknownKeyError)
    return error["type"] in ("extra_forbidden", "invalid_key")


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


def _described(config_class: type[BaseModel], path: list[str], key: str) -> str:
    field = _owner(config_class, path[:-1]).model_fields.get(path[-1])
    example = f" with {key}={field.examples[0]}" if field and field.examples else ""
    description = field.description if field and field.description else f"{path[-1]} section"
    first = re.split(r"[.;,]", description)[0].strip()
    return f"{example} ({first[:1].lower() + first[1:]})"


def _owner(config_class: type[BaseModel], path: list[str]) -> type[BaseModel]:
    """Return the config class at a path of keys, as far as the annotations lead there."""
    owner = config_class
    for part in path:
        if part in owner.model_fields:
            owner = next(_sections(owner.model_fields[part].annotation), owner)
    return owner


def _paths(config_class: type[BaseModel]) -> list[str]:
    """Return the dotted paths of all keys, those of inner sections after those of outer ones."""
    outer, inner = [], []
    for name, field in config_class.model_fields.items():
        outer.append(name)
        for section in _sections(field.annotation):
            inner += [f"{name}.{path}" for path in _paths(section)]
    return outer + list(dict.fromkeys(inner))


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the configs that an annotation names, alone, in a union or as items of a list."""
    for kind in members(annotation):
        for item in members(typing.get_args(kind)[0]) if typing.get_origin(kind) is list else [kind]:
            if isinstance(item, type) and issubclass(item, BaseModel):
                yield item


def members(annotation: Any) -> list[Any]:
    """Return the members of a union, or else the annotation itself, without constraints."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for member in typing.get_args(annotation) for kind in members(member)]
    return [annotation]
