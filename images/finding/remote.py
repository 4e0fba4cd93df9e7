"""What is behind a URL: an object, or those of a folder or a glob, with their sizes and versions."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from ...tokenizer.remote_files import FileSystem, open_filesystem, protocol_of
from ...tokenizer.retries import retried
from ..prefetch import ahead
from ..remote_entry import UNKNOWN
from .remote_listing import files_below, files_that_match

REQUESTS = 32
"""Objects that are asked for at a time."""
WITHOUT_GLOBS = ("http", "https")
"""Protocols in whose URLs ? and * are ordinary characters."""
VERSIONS = (
    *("ETag", "etag", "blob_id", "generation", "md5Hash", "content_md5"),
    *("Last-Modified", "LastModified", "last_modified", "modified", "mtime", "updated", "created"),
)
"""What file systems call that which changes with the content, the surest first."""


class RemoteObject(NamedTuple):
    """An object behind a URL."""

    url: str
    size: int = UNKNOWN
    version: str = ""
    """Its entity tag, hash or modification time; empty where the store says none."""
    problem: str = ""
    """Why it cannot be read, as a phrase: "does not exist"."""


class RemoteFolder(NamedTuple):
    """The objects below a URL, or those that a glob matches; sorted."""

    url: str
    objects: list[RemoteObject]


def find_remote(urls: Iterable[str]) -> Iterator[RemoteObject | RemoteFolder]:
    """Yield what is behind each URL, in order; raise OSError when a store fails, ValueError for what none can open."""
    with ThreadPoolExecutor(REQUESTS, thread_name_prefix="vistok-find") as pool:
        yield from ahead(pool, _find, urls, 4 * REQUESTS)


def remote_object(url: str) -> RemoteObject:
    """Return an object as it is now; raise OSError when the store does not answer."""
    info = _info(*open_filesystem(url), url)
    return RemoteObject(url, problem=info) if isinstance(info, str) else _object(url, info)


def remote_objects(urls: Iterable[str]) -> list[RemoteObject]:
    """Return objects as they are now, in order; raise OSError when a store does not answer."""
    with ThreadPoolExecutor(REQUESTS, thread_name_prefix="vistok-find") as pool:
        return list(ahead(pool, remote_object, urls, 4 * REQUESTS))


def _find(url: str) -> RemoteObject | RemoteFolder:
    filesystem, path = open_filesystem(url)
    has_globs = protocol_of(url) not in WITHOUT_GLOBS
    if has_globs and any(sign in url for sign in "*?["):
        root = url[: min(url.index(sign) for sign in "*?[" if sign in url)].rpartition("/")[0]
        return _folder(filesystem, root, files_that_match(filesystem, path, url))
    info = _info(filesystem, path, url)
    if isinstance(info, str):
        return RemoteObject(url, problem=info)
    if info["type"] == "directory" or (not has_globs and url.endswith("/")):
        return _folder(filesystem, url.rstrip("/"), files_below(filesystem, path, url))
    return _object(url, info)


def _info(filesystem: FileSystem, path: str, url: str) -> dict[str, Any] | str:
    """Return what a store says of an object, or a phrase that says why it says nothing; raise OSError when it fails."""
    try:
        info: dict[str, Any] = retried(partial(filesystem.info, path), url)
    except FileNotFoundError:
        return "does not exist"
    except PermissionError as error:
        if protocol_of(url) not in WITHOUT_GLOBS:  # credentials are those of the whole store
            raise
        return f"cannot be read ({error.strerror})"
    return info


def _folder(filesystem: FileSystem, root: str, found: dict[str, dict[str, Any]]) -> RemoteFolder:
    start = filesystem._strip_protocol(root).rstrip("/")
    files = {path.removeprefix(start).lstrip("/"): info for path, info in found.items()}
    objects = [_object(f"{root}/{name}", files[name]) for name in sorted(files)]
    if any(each.size == UNKNOWN for each in objects):  # a page of links
        objects = remote_objects(each.url for each in objects)
    return RemoteFolder(root, objects)


def _object(url: str, info: dict[str, Any]) -> RemoteObject:
    size = info.get("size")
    value = next((info[name] for name in VERSIONS if info.get(name)), "")
    # One file system says the same time as an object and as a number.
    version = str(value.timestamp()) if isinstance(value, datetime) else str(value).strip('"')
    return RemoteObject(url, UNKNOWN if size is None else size, version)
