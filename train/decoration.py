"""What only decorates a run, such as its report, never ends it: a failure becomes a warning."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..cli.user_errors import describe_error

Warn = Callable[[str], None]


@contextmanager
def decorating(what: str, warn: Warn) -> Iterator[None]:
    """Tell an error of the body as a warning that names `what` could not be made, and go on."""
    try:
        yield
    except Exception as error:
        warn(f"{what} could not be written: {describe_error(error)}")
