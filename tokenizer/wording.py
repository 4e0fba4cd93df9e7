"""Counts and lists in messages."""

from collections.abc import Sequence


def pluralize(count: int, noun: str) -> str:
    """Return a count with its noun: "1 image", "2 images"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def list_first(items: Sequence[str], shown: int) -> str:
    """Join the first items with commas and count the others: "a, b and 3 more"."""
    others = len(items) - shown
    return ", ".join(items[:shown]) + (f" and {others} more" if others > 0 else "")


def first_lines(lines: Sequence[str], shown: int, where: str) -> list[str]:
    """Return the first lines and, when there are more, one that counts them and says where they are."""
    others = len(lines) - shown
    return [*lines[:shown], *([f"... and {others} more, see {where}"] if others > 0 else [])]
