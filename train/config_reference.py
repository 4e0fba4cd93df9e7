"""Every key of a config with its type, its default and its sentence, as Markdown and for the terminal."""

import textwrap
from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from ..tokenizer.config import ConfigError, unknown_choice
from .config_keys import REQUIRED, Key, Section, config_sections


def config_reference(config_class: type[BaseModel]) -> str:
    """Return all keys of a config as Markdown: a heading and a table for each section."""
    parts = []
    for section in config_sections(config_class):
        rows = [(f"`{key.path}`", key.type, key.default, key.sentence.replace("|", "\\|")) for key in section.keys]
        table = [("key", "type", "default", "meaning"), ("---",) * 4, *rows]
        lines = [
            f"## {section.path or 'Sections'}",
            "",
            section.sentence,
            "",
            *(f"| {' | '.join(row)} |" for row in table),
        ]
        parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)


def keys_text(config_class: type[BaseModel], path: str, width: int) -> str:
    """Return the keys at a dotted path as plain text, wrapped at `width` columns.

    An empty path gives all keys but those of configs chosen from a table. Raises ConfigError for an unknown path.
    """
    parts, known = [], []
    for section in config_sections(config_class):
        known += [section.path, *(key.path for key in section.keys)]
        is_shown = _lies_in(section.path, path) if path else not section.is_chosen
        keys = [key for key in section.keys if is_shown or (path and _lies_in(key.path, path))]
        if keys:
            parts.append("\n".join(_section_lines(section, keys, width)))
    if not parts:
        parent, _, last = path.rpartition(".")
        beside = {other[len(parent) + 1 :].partition(".")[0] for other in known if parent and _lies_in(other, parent)}
        raise ConfigError(
            unknown_choice("key", path, last, sorted(beside - {""}) or list(config_class.model_fields), known)
        )
    return "\n\n".join(parts)


def _section_lines(section: Section, keys: Sequence[Key], width: int) -> Iterator[str]:
    yield from textwrap.wrap(f"{section.path}: {section.sentence}".removeprefix(": "), width)
    for key in keys:
        default = key.default if key.default == REQUIRED else f"default: {key.default}"
        line = f"{key.path}: {key.type} ({default})"
        yield from textwrap.wrap(line, width, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
        yield from textwrap.wrap(key.sentence, width, initial_indent="      ", subsequent_indent="      ")


def _lies_in(path: str, outer: str) -> bool:
    return path == outer or path.startswith(f"{outer}.")
