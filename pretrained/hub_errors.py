"""What the Hugging Face hub refuses, as one sentence."""

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import NamedTuple

from .cache import is_of_disk
from .network import hub_endpoint

CLIENTS = ("huggingface_hub", "httpx", "httpx2", "httpcore", "requests", "urllib3")
"""The hub's client, and packages with which its versions connect to the hub."""
LOG_IN = "log in with: hf auth login"
LONGEST = 200
"""Max characters of what a library says."""


class Repository(NamedTuple):
    """A repository of models at a revision, and what users call it."""

    name: str
    """As owner/repo."""
    revision: str
    """Branch, tag or commit."""
    given: str
    """What the user typed."""
    otherwise: str
    """What helps where the hub does not, as the end of a sentence."""

    @property
    def url(self) -> str:
        """Address of its page."""
        return f"{hub_endpoint()}/{self.name}"

    def error(self, what: str, remedy: str) -> ValueError:
        """Return an error: what is wrong with it, and what helps beside the other way."""
        return ValueError(f"{self.given} {what}: {remedy}, or {self.otherwise}.")

    def no_such_file(self, name: str) -> "NoSuchFileError":
        """Return the error of a file that is not in the repository."""
        what = f"has no file {name} at revision {self.revision} of {self.url}"
        return NoSuchFileError(str(self.error(what, "give another revision")))


class NoSuchFileError(ValueError):
    """The repository does not have a file."""


class OutOfReachError(ValueError):
    """The cache does not have what is wanted, and the hub cannot be asked."""


class HubFailedError(OutOfReachError):
    """The hub answers with a failure of its own (5xx)."""

    answer: str = ""
    """What it answered."""


@contextmanager
def one_sentence(repository: Repository) -> Iterator[None]:
    """Turn the errors of the hub's client into a ValueError, but for those of the disk."""
    from huggingface_hub import errors

    try:
        yield
    except errors.HFValidationError:
        raise ValueError(f"{repository.given} is no name of the hub: give hf://owner/repo[@revision].") from None
    except errors.GatedRepoError as error:
        raise _gated(repository, error) from None
    except errors.RepositoryNotFoundError:
        what = f"is not on the hub, or private: there is no {repository.url} that you may read"
        raise repository.error(what, f"check the name, {LOG_IN}") from None
    except errors.RevisionNotFoundError:
        what = f"has no revision {repository.revision} at {repository.url}"
        raise repository.error(what, "give a branch, tag or commit of it") from None
    except errors.LocalEntryNotFoundError as error:
        raise _failed(repository, error.__cause__ or error) from None
    except errors.EntryNotFoundError as error:
        raise _failed(repository, error) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise repository.error("is refused: the hub does not accept your token", LOG_IN) from None
        if status == HTTPStatus.NOT_FOUND:
            what = f"was not found at revision {repository.revision} of {repository.url}"
            raise repository.error(what, "check the name and the revision") from None
        raise _failed(repository, error) from None
    except OSError as error:
        if is_of_disk(error):
            raise
        raise _failed(repository, error) from None
    except Exception as error:
        if not is_of_client(error):
            raise
        raise _failed(repository, error) from None


def is_of_client(error: Exception) -> bool:
    """Return whether an error is one of the hub's client, or of the packages with which it connects."""
    return any(kind.__module__.partition(".")[0] in CLIENTS for kind in type(error).__mro__)


def _gated(repository: Repository, error: Exception) -> ValueError:
    response = getattr(error, "response", None)
    if response is not None and response.status_code == 403:
        what = f"is gated, and your account has no access: accept its licence at {repository.url}, and wait until it is granted"
        return ValueError(f"{repository.given} {what}.")
    return ValueError(f"{repository.given} is gated: accept its licence at {repository.url} and {LOG_IN}.")


def _failed(repository: Repository, error: BaseException) -> ValueError:
    """Return the error of a download that failed for a reason that may pass."""
    found = repository.error(f"could not be downloaded ({reason(error)})", "try again")
    response = getattr(error, "response", None)
    if response is None or response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return found
    failed = HubFailedError(str(found))
    failed.answer = reason(error)
    return failed


def reason(error: BaseException) -> str:
    """Return what the hub or its client says, as a short phrase."""
    response = getattr(error, "response", None)
    if response is None:
        said = re.sub(r"\s+For more information check: .*", "", str(error), flags=re.DOTALL)
        return textwrap.shorten(said, LONGEST, placeholder=" ...").rstrip(".:") or type(error).__name__
    try:
        phrase = f" {HTTPStatus(response.status_code).phrase}"
    except ValueError:  # a status of its own
        phrase = ""
    told = textwrap.shorten(getattr(error, "server_message", None) or "", LONGEST, placeholder=" ...").rstrip(".")
    return f"the hub answered {response.status_code}{phrase}{f': {told}' if told else ''}"
