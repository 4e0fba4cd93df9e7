"""Fields whose config is chosen by its name from a table that others may extend."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from .config_hints import shown

UNKNOWN_NAME, NO_SECTION = "unknown_name", "no_section"
"""Types of the two errors, beside those of the chosen config."""
Chosen = TypeVar("Chosen", bound=BaseModel)


class Choice:
    """Let a pydantic field take any config of a table: plain values with a `name`, or an instance."""

    def __init__(self, table: Mapping[str, type[BaseModel]], default: str | None = None):
        self.table = table
        self.default = default

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._parsed)

    def _parsed(self, value: Any) -> BaseModel:
        # Errors of the chosen config keep their paths: pydantic merges them into those of the field's owner.
        return instance_of(self.table, value) or chosen(self.table, value, self.default).model_validate(dict(value))


def choice(table: Mapping[str, type[BaseModel]], default: str | None = None) -> Choice:
    """Return the annotation of a field whose config the table holds under its `name`.

    Write `field: Annotated[Base, choice(TABLE)]`. The table is read at each validation, so an entry added later works too.
    `default` is the name of a section that gives none.
    """
    return Choice(table, default)


def instance_of(table: Mapping[str, type[Chosen]], value: Any) -> Chosen | None:
    """Return the value if it is an instance of one of the table's configs."""
    return next((value for config_class in table.values() if isinstance(value, config_class)), None)


def chosen(table: Mapping[str, type[Chosen]], value: Any, default: str | None = None) -> type[Chosen]:
    """Return the config class that `value["name"]` names; raise PydanticCustomError where there is none."""
    if isinstance(value, BaseModel):
        value = {"name": getattr(value, "name", None)}
    elif not isinstance(value, Mapping):
        example = next(iter(table), "NAME")
        raise PydanticCustomError(
            NO_SECTION, "a section with a name, such as {name: {example}, ...}", {"example": example}
        )
    name = value.get("name", default)
    if not isinstance(name, str) or name not in table:
        got = name if isinstance(name, str) else ""
        raise PydanticCustomError(
            UNKNOWN_NAME, "unknown name {shown}", {"got": got, "shown": shown(name), "known": list(table)}
        )
    return table[name]
