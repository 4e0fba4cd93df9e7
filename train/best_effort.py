"""What a run can do without, such as its report, does not end it: an error there becomes a warning."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..cli.user_errors import describe_error

Warn = Callable[[str], None]


@contextmanager
def best_effort(what: str, warn: Warn) -> Iterator[None]:
    """Turn an error of the body into a warning that `what` could not be written."""
    try:
        yield
    except Exception as error:
        warn(f"{what} could not be written: {describe_error(error)}")
