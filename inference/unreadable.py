"""Errors of reading: they are not errors of an image, so that nothing is settled by them."""

from ..images.index import Entry


class UnreadableInputError(Exception):
    """A file that goes in cannot be read now; the message names it and says why."""


def read_input(entry: Entry) -> bytes:
    """Return the bytes of a file; raise UnreadableInputError when they cannot be read."""
    try:
        return entry.read()
    except (OSError, MemoryError) as error:
        raise unreadable(entry.name, error) from None


def unreadable(name: str, error: OSError | MemoryError) -> UnreadableInputError:
    """Return the error of reading the file `name`, in words."""
    if isinstance(error, MemoryError):
        return UnreadableInputError(f"{name}: the memory is too small for it")
    return UnreadableInputError(f"{name} cannot be read ({error.strerror or error})")
