"""What the annotation of a config's field says of its values."""

import types
import typing
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .choices import Choice


def field_sections(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """Return the configs that a field takes, alone, in a union or as items of a list, by their names in a choice's table."""
    return dict(_choices(field.metadata) or _sections(field.annotation))


def _sections(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        yield from _choices(parts[1:]) or _sections(parts[0])
    elif origin in (typing.Union, types.UnionType, list):
        for part in parts:
            yield from _sections(part)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation.__name__, annotation


def _choices(metadata: Iterable[Any]) -> list[tuple[str, type[BaseModel]]]:
    return [item for part in metadata if isinstance(part, Choice) for item in part.table.items()]


def members(annotation: Any) -> list[Any]:
    """Return the members of a union, or else the annotation itself, without constraints."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [kind for member in typing.get_args(annotation) for kind in members(member)]
    return [annotation]
