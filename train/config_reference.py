"""The keys of a config, as Markdown and for the terminal."""

import textwrap

from pydantic import BaseModel

from ..tokenizer.config import ConfigError
from ..tokenizer.wording import unknown_choice
from .config_keys import Key, config_sections


def config_reference(config_class: type[BaseModel]) -> str:
    """Return all keys of a config as Markdown: a heading and a table for each section."""
    lines = []
    for section in config_sections(config_class):
        rows = [("key", "type", "default", "meaning"), ("---",) * 4]
        rows += [
            (f"`{key.path}`", key.type, key.default or "required", key.sentence.replace("|", "\\|"))
            for key in section.keys
        ]
        table = [f"| {' | '.join(cells)} |" for cells in rows]
        lines += [f"## {section.path or 'Sections'}", "", section.sentence, "", *table, ""]
    return "\n".join(lines)


def keys_text(config_class: type[BaseModel], path: str, width: int) -> str:
    """Return the keys at a dotted path as plain text, wrapped at `width` columns.

    An empty path gives all keys but those of configs chosen from a table. Raises ConfigError for an unknown path.
    """
    parts, known = [], []
    for section in config_sections(config_class):
        is_shown = _lies_in(section.path, path) if path else not section.is_chosen
        lines = []
        for key in section.keys:
            names = [key.path, f"{section.path}.{key.path.rpartition('.')[2]}".lstrip(".")]
            known += [section.path, *names]
            if is_shown or (path and any(_lies_in(name, path) for name in names)):
                lines += _key_lines(key, width)
        if lines:
            heading = textwrap.wrap(f"{section.path}: {section.sentence}".removeprefix(": "), width)
            parts.append("\n".join(heading + lines))
    if not parts:
        raise _unknown_key(path, list(dict.fromkeys(filter(None, known))))
    return "\n\n".join(parts)


def _key_lines(key: Key, width: int) -> list[str]:
    default = "required" if key.default is None else f"default: {key.default}"
    line = textwrap.wrap(
        f"{key.path}: {key.type} ({default})",
        width,
        initial_indent="  ",
        subsequent_indent="      ",
        break_on_hyphens=False,
    )
    return line + textwrap.wrap(key.sentence, width, initial_indent="      ", subsequent_indent="      ")


def _unknown_key(path: str, known: list[str]) -> ConfigError:
    """Name the keys beside the first part of a path that leads nowhere."""
    parent, _, part = path.rpartition(".")
    while parent in known and not any(each.startswith(f"{parent}.") for each in known):
        parent, _, part = parent.rpartition(".")
    prefix = f"{parent}." if any(each.startswith(f"{parent}.") for each in known) else ""
    beside = {each.removeprefix(prefix).partition(".")[0] for each in known if each.startswith(prefix)}
    return ConfigError(unknown_choice("key", path, part, sorted(beside), known))


def _lies_in(path: str, outer: str) -> bool:
    return path == outer or path.startswith(f"{outer}.")
