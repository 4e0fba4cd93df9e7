"""Fields whose config is chosen by its name from a table that others may extend, and the configs that a field takes."""

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from ..wording import shown

UNKNOWN_NAME = "unknown_name"
"""Type of the error of a name that is not in the table."""


@dataclass(eq=False)
class Choice:
    """Let a pydantic field take any config of a table: plain values with a `name`, or an instance.

    Write `field: Annotated[Base, Choice(TABLE)]`. The table is read at each validation, so an entry added later works too.
    A function returns a table that does not exist yet when the field is defined.
    """

    table: Mapping[str, type[BaseModel]] | Callable[[], Mapping[str, type[BaseModel]]]
    default: str | None = None
    """Name of a section that gives none."""

    def entries(self) -> Mapping[str, type[BaseModel]]:
        """Return the table as it is now."""
        return self.table() if callable(self.table) else self.table

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._parsed)

    def _parsed(self, value: Any) -> BaseModel:
        table = self.entries()
        if isinstance(value, BaseModel) and isinstance(value, tuple(table.values())):
            return value
        if not isinstance(value, Mapping | BaseModel):
            example = {"example": next(iter(table), "NAME")}
            raise PydanticCustomError("no_section", "a section with a name, such as {name: {example}, ...}", example)
        values = dict(value)
        name = values.get("name", self.default)
        if not isinstance(name, str) or name not in table:
            context = {"got": name if isinstance(name, str) else "", "shown": shown(name), "known": list(table)}
            raise PydanticCustomError(UNKNOWN_NAME, "unknown name {shown}", context)
        # Errors of the chosen config keep their paths: pydantic merges them into those of the field's owner.
        return table[name].model_validate(values)


def field_choice(field: FieldInfo) -> Choice | None:
    """Return the choice that a field's config, or each of its list, is made by."""
    metadata = [*field.metadata, *_metadata(field.annotation)]
    return next((each for each in metadata if isinstance(each, Choice)), None)


def field_sections(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """Return the configs that a field takes, alone, in a union or as items of a list: by name where they are chosen."""
    choice = field_choice(field)
    return dict(choice.entries()) if choice else {section.__name__: section for section in _sections(field.annotation)}


def _metadata(annotation: Any) -> Iterator[Any]:
    if typing.get_origin(annotation) is Annotated:
        yield from typing.get_args(annotation)[1:]
    for part in typing.get_args(annotation):
        yield from _metadata(part)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    for kind in members(annotation):
        if typing.get_origin(kind) is list:
            yield from _sections(typing.get_args(kind)[0])
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind


def members(annotation: Any) -> list[Any]:
    """Return the members of a union, or else the annotation itself, without constraints."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for member in typing.get_args(annotation) for kind in members(member)]
    return [annotation]
