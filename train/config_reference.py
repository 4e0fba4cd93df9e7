"""The keys of a config as Markdown and for the terminal."""

import textwrap

from pydantic import BaseModel

from ..tokenizer.config import ConfigError
from ..tokenizer.wording import unknown_choice
from .config_sections import config_sections

INDENT = " " * 6


def config_reference(config_class: type[BaseModel]) -> str:
    """Return all keys of a config as Markdown: a heading and a table for each section."""
    lines = []
    for section in config_sections(config_class):
        lines += [f"## {section.path or 'Sections'}", "", section.sentence, ""]
        lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
        for key in section.keys:
            cells = (f"`{key.path}`", key.type, key.default or "required", key.sentence.replace("|", "\\|"))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def keys_text(config_class: type[BaseModel], path: str, width: int) -> str:
    """Return the keys at a dotted path as plain text, wrapped at `width` columns.

    An empty path gives all keys but those of configs chosen from a table. Raises ConfigError for an unknown path.
    """
    parts, known, outer = [], [], f"{path}."
    for section in config_sections(config_class):
        is_shown = f"{section.path}.".startswith(outer) if path else not section.is_chosen
        lines = []
        for key in section.keys:
            names = [key.path, f"{section.path}.{key.path.rpartition('.')[2]}".lstrip(".")]
            known += [section.path, *names]
            if is_shown or (path and any(f"{name}.".startswith(outer) for name in names)):
                default = "required" if key.default is None else f"default: {key.default}"
                first = f"  {key.path}: {key.type} ({default})"
                lines += textwrap.wrap(first, width, subsequent_indent=INDENT, break_on_hyphens=False)
                lines += textwrap.wrap(INDENT + key.sentence, width, subsequent_indent=INDENT)
        if lines:
            heading = textwrap.wrap(f"{section.path}: {section.sentence}".removeprefix(": "), width)
            parts.append("\n".join(heading + lines))
    if not parts:
        raise _unknown_key(path, list(dict.fromkeys(filter(None, known))))
    return "\n\n".join(parts)


def _unknown_key(path: str, known: list[str]) -> ConfigError:
    """Name the keys beside the first part of a path that leads nowhere."""
    parent, _, part = path.rpartition(".")
    while parent in known and not any(each.startswith(f"{parent}.") for each in known):
        parent, _, part = parent.rpartition(".")
    prefix = f"{parent}." if any(each.startswith(f"{parent}.") for each in known) else ""
    beside = {each.removeprefix(prefix).partition(".")[0] for each in known if each.startswith(prefix)}
    return ConfigError(unknown_choice("key", path, part, sorted(beside), known))
