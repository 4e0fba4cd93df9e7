"""Strict, frozen configs: a value that is wrong or a key that is unknown is one sentence, never a default in silence."""

import difflib
import re
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError


class ConfigError(ValueError):
    """Something wrong in a config; the message begins with the dotted path of the key."""


def _compiled(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression ({error}): correct it.") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_compiled)]
"""A regular expression."""


class Config(BaseModel):
    """Base of every config: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


ConfigType = TypeVar("ConfigType", bound=Config)


def parse_config(config_class: type[ConfigType], values: Mapping[str, Any], section: str = "") -> ConfigType:
    """Build a config from plain values, `section` being the dotted path that error messages begin with.

    Raises ConfigError, a ValueError, with one sentence for the first thing that is wrong.
    """
    try:
        return config_class.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(_sentence(config_class, error, section)) from None


def _sentence(config_class: type[Config], error: ValidationError, section: str) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(([section] if section else []) + path)
    if first["type"] == "extra_forbidden":
        return unknown_choice("key", key, path[-1], _known_keys(config_class, path[:-1]))
    if first["type"] == "missing":
        return f"{key} is missing: set it ({_describe(config_class, path)})."
    if first["type"] == "value_error":
        cause = first["ctx"]["error"]
        separator = "." if isinstance(cause, ConfigError) else ": "
        return f"{key}{separator}{cause}" if key else str(cause)
    return f"{key} is {first['input']!r}, but must be: {_lower(first['msg'])}."


def unknown_choice(what: str, path: str, got: str, known: list[str]) -> str:
    """Say that `got` is none of `known`, and name the nearest of them."""
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{path} is not a known {what}: {hint}choose from {', '.join(sorted(known))}."


def _known_keys(config_class: type[Config], path: list[str]) -> list[str]:
    return list(_owner(config_class, path).model_fields)


def _describe(config_class: type[Config], path: list[str]) -> str:
    field = _owner(config_class, path[:-1]).model_fields.get(path[-1])
    description = field.description if field and field.description else f"{path[-1]} section"
    return _lower(re.split(r"[.;,]", description)[0].strip())


def _owner(config_class: type[Config], path: list[str]) -> type[Config]:
    """Return the config class at a path of keys, as far as the annotations lead there."""
    owner = config_class
    for part in path:
        if part in owner.model_fields:
            annotation: Any = owner.model_fields[part].annotation
            candidates = [annotation, *typing.get_args(annotation)]
            owner = next((c for c in candidates if isinstance(c, type) and issubclass(c, Config)), owner)
    return owner


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
