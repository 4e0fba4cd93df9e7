"""Try again what another machine refuses for a moment, and say so when it goes on."""

import errno
import random
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import TypeVar

Result = TypeVar("Result")

TRIES = 8
FIRST_WAIT = 0.25
"""Seconds before the second try; each later one waits twice as long, times a random factor of 0.5 to 1.5: 32 s in all."""
MAX_SECONDS = 60.0
"""Seconds after which half of the tries are enough, where libraries wait by themselves."""
DEFINITE: dict[type[OSError], int] = {
    FileNotFoundError: errno.ENOENT,
    PermissionError: errno.EACCES,
    FileExistsError: errno.EEXIST,
    IsADirectoryError: errno.EISDIR,
    NotADirectoryError: errno.ENOTDIR,
}
"""Answers of a store that do not change by asking again, and their numbers, which libraries may leave out."""
LIBRARIES = frozenset(
    {"aiohttp", "asyncio", "azure", "botocore", "fsspec", "gcsfs", "httpcore", "httpx", "huggingface_hub"}
)
"""Packages whose errors of the network need not be OSErrors."""
WAIT_AND_RETRY = (408, 409, 412, 425, 429)
"""Refusals of HTTP that pass."""
MISSING = (404, 410)
"""Statuses of HTTP for what is not there."""
_given_up = threading.Event()


class StillFailingError(OSError):
    """All tries have failed for a moment."""


def retried(action: Callable[[], Result], path: str) -> Result:
    """Return what an action returns, tried up to 8 times, with exponential backoff and jitter.

    Raises StillFailingError that names `path`, with the number of tries, when all fail for a moment; a definite answer, such
    as FileNotFoundError, is raised at once. The action must bear being repeated after it has failed in the middle.
    """
    started = time.monotonic()
    for number in range(1, TRIES + 1):
        try:
            return action()
        except Exception as hidden:
            error = _answer(hidden)
            if not is_momentary(error):
                raise _named(error, path) from None
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
        is_late = number >= TRIES // 2 and time.monotonic() - started > MAX_SECONDS
        if is_late or (number < TRIES and _given_up.wait(FIRST_WAIT * 2 ** (number - 1) * random.uniform(0.5, 1.5))):
            break
    seconds = time.monotonic() - started
    raise StillFailingError(errno.EIO, f"failed {number} times in {seconds:.0f} s, the last time with: {reason}", path)


def give_up_retries(given_up: bool = True) -> None:
    """Let no action of this process wait for another try, as its work is to end; or again, for other work."""
    (_given_up.set if given_up else _given_up.clear)()


def is_momentary(error: Exception) -> bool:
    """Return whether an error may be gone a moment later."""
    status = _status(error)
    if isinstance(error, tuple(DEFINITE)) or "Credential" in type(error).__name__:
        return False
    if status is not None and 400 <= status < 500:
        return status in WAIT_AND_RETRY
    if isinstance(error, OSError | EOFError | HTTPException):
        return True
    return type(error).__module__.partition(".")[0] in LIBRARIES


def _answer(error: Exception) -> Exception:
    """Return what the network said: fsspec calls a file of the web missing, whatever kept it from being asked for."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or not isinstance(cause, Exception) or _status(cause) in MISSING:
        return error
    is_of_web = type(cause).__module__.partition(".")[0] in ("aiohttp", "asyncio") and not isinstance(cause, ValueError)
    if is_of_web and _status(cause) and not is_momentary(cause):
        return PermissionError(" ".join(str(cause).split()))
    return cause if is_of_web or isinstance(cause, ConnectionError | TimeoutError) else error


def _status(error: Exception) -> int | None:
    """Return the status of HTTP that an error of a library carries."""
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _named(error: Exception, path: str) -> Exception:
    """Give an error the path that it concerns, and the class of those that commands put into words."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return error
    words = " ".join(str(getattr(error, "strerror", None) or error).split())[:300] or type(error).__name__
    for kind, code in DEFINITE.items():
        if isinstance(error, kind):
            return kind(code, words, path)
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in LIBRARIES:
        return OSError(errno.EACCES, words, path)
    return error
