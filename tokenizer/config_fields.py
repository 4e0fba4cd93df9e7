"""What the annotation of a config's field says of its values."""

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .choices import Choice


def field_choice(field: FieldInfo) -> Choice | None:
    """Return the choice that a field's config, or each of its list, is made by."""
    metadata = [*field.metadata, *_metadata(field.annotation)]
    return next((each for each in metadata if isinstance(each, Choice)), None)


def field_sections(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """Return the configs that a field takes, alone, in a union or as items of a list: by name where they are chosen."""
    choice = field_choice(field)
    return dict(choice.table) if choice else {section.__name__: section for section in _sections(field.annotation)}


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
