"""Strict, frozen configs: a wrong value or an unknown key is an error of one sentence, never silently a default."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, create_model, field_validator
from pydantic_core import PydanticCustomError

from ..wording import shown
from .choices import Choice, members
from .errors import ConfigError, first_error

__all__ = ["Choice", "Config", "ConfigError", "ConfigType", "Pattern", "parse_choice", "parse_config"]


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

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_not_one(cls, value: Any, info: Any) -> Any:
        """Refuse true and false for a number, also in a list or a section; pydantic would convert them to 1 and 0."""
        kinds = members(cls.model_fields[str(info.field_name)].annotation)
        if isinstance(value, bool) and _takes_numbers(kinds):
            raise PydanticCustomError("int_type" if int in kinds else "float_type", "")
        items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else []
        if any(isinstance(item, bool) for item in items):
            of_items = [kind for outer in kinds if get_origin(outer) for kind in members(get_args(outer)[-1])]
            if _takes_numbers(of_items):
                raise PydanticCustomError("numbers", "numbers, not true or false")
        return value


def _takes_numbers(kinds: list[Any]) -> bool:
    return bool not in kinds and (int in kinds or float in kinds)


ConfigType = TypeVar("ConfigType", bound=Config)


def parse_config(config_class: type[ConfigType], values: Any, section: str = "") -> ConfigType:
    """Build a config from plain values; `section` is the dotted path that error messages begin with.

    Raises ConfigError with one sentence for the first error; unknown keys come first.
    """
    if not isinstance(values, Mapping):
        where = section or "the config"
        raise ConfigError(f"{where} is {shown(values)}, but must be a section of keys and values.")
    try:
        return config_class.model_validate(dict(values))
    except ValidationError as error:
        raise first_error(config_class, values, error.errors(include_url=False), section) from None


def parse_choice(table: Mapping[str, type[ConfigType]], values: Any, section: str) -> ConfigType:
    """Build the config that `values["name"]` names in a table, or return `values` if it already is one of its configs.

    Raises ConfigError, as `parse_config`.
    """
    outer, _, key = section.rpartition(".")
    fields: Any = {key: (Annotated[Config, Choice(table)], ...)}
    return getattr(parse_config(create_model("Owner", __base__=Config, **fields), {key: values}, outer), key)
