"""Files behind URLs, through fsspec: which package opens a URL, and files that are read in ranges. Imports fsspec on demand."""

import errno
import io
import os
import re
from functools import partial
from typing import Any, BinaryIO, TypeAlias

from .retries import retried

FileSystem: TypeAlias = Any
"""A file system of fsspec, which has no types."""
PACKAGES = {
    "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs", "gcs": "gcsfs", "gs": "gcsfs", "hf": "huggingface_hub", "http": "aiohttp",
    "https": "aiohttp", "oss": "ossfs", "s3": "s3fs", "s3a": "s3fs", "sftp": "paramiko", "ssh": "paramiko",
}  # fmt: skip
"""The package that opens the URLs of a protocol."""
S3_CONFIG = {"connect_timeout": 10, "read_timeout": 20, "retries": {"max_attempts": 0}}
"""Short waits in the client of S3, and one try, as `retried` tries again: each layer that does multiplies them."""
BLOCK = 4 << 20
"""Bytes that are asked for at a time."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_LOCAL = ("file", "local")


def protocol_of(path: str) -> str:
    """Return the protocol of a URL in lower case, "" for a path of this machine; a drive of Windows has one letter."""
    found = _URL.match(path)
    return found[1].lower() if found and found[1].lower() not in _LOCAL else ""


def local_path(path: str) -> str:
    """Return a path of this machine, which may be given as file://."""
    return path[found.end() :] if (found := _URL.match(path)) else path


def open_filesystem(url: str) -> tuple[FileSystem, str]:
    """Return the file system of a URL, and its path there; raise ValueError when its package or its protocol is unknown."""
    import fsspec

    protocol = protocol_of(url)
    options: dict[str, object] = {"use_listings_cache": False}  # what others write meanwhile must be seen
    if protocol in ("s3", "s3a"):
        options["config_kwargs"] = S3_CONFIG
    if protocol == "hf":
        options["endpoint"] = os.environ.get("HF_ENDPOINT")
    try:
        filesystem, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        package = PACKAGES.get(protocol)
        remedy = f"pip install {package}" if package else "install it"
        needs = f"the package {package}" if package else f"a package that is missing ({error})"
        raise ValueError(f"{url} needs {needs}: {remedy}, and run the same command again.") from None
    except (TypeError, ValueError) as error:
        if protocol in fsspec.available_protocols():
            raise ValueError(f"{url} cannot be opened ({' '.join(str(error).split())}): give another URL.") from None
        raise ValueError(
            f"{url} has the protocol {protocol}, which fsspec does not know: give a path, or a URL such as s3://, gs:// or "
            "hf://datasets/."
        ) from None
    if protocol in ("s3", "s3a"):
        filesystem.retries = 1
    return filesystem, path


def remote_size(filesystem: FileSystem, path: str, url: str) -> int | None:
    """Return the bytes of a file, None where the store does not say; raise OSError, such as FileNotFoundError."""

    def read() -> int | None:
        filesystem.invalidate_cache(path)
        size: int | None = filesystem.info(path)["size"]
        return size

    return retried(read, url)


def read_remote(filesystem: FileSystem, path: str, url: str, size: int | None = None) -> bytes:
    """Return a whole file, of `size` bytes where that is known; a cut one is read again. Raises OSError."""

    def read() -> bytes:
        filesystem.invalidate_cache(path)
        content: bytes = filesystem.cat_file(path)
        expected = filesystem.info(path)["size"] if size is None else size
        if expected is not None and len(content) != expected:
            raise OSError(errno.EIO, f"{len(content)} of {expected} bytes came", url)
        return content

    return retried(read, url)


def read_start(url: str, size: int) -> bytes:
    """Return the first bytes of a file, at most `size`. Raises OSError."""
    filesystem, path = open_filesystem(url)
    start: bytes = retried(partial(filesystem.cat_file, path, start=0, end=size), url)
    return start[:size]


def open_remote(filesystem: FileSystem, path: str, url: str) -> BinaryIO:
    """Open a file for reading in ranges, each of which is tried again when it fails or comes cut. Raises OSError.

    The file is seekable, its name is the URL; one whose size the store does not know is read whole.
    """
    size = remote_size(filesystem, path, url)
    if size is None:
        return HeldFile(read_remote(filesystem, path, url), url)
    return io.BufferedReader(RemoteFile(filesystem, path, url, size), BLOCK)


class HeldFile(io.BytesIO):
    """A file in memory that has a name, as all files have that are opened here."""

    mode = "rb"

    def __init__(self, content: bytes, url: str):
        super().__init__(content)
        self.name = url


class RemoteFile(io.RawIOBase):
    """A seekable file that asks for each range by itself, so that no connection has to last."""

    def __init__(self, filesystem: FileSystem, path: str, url: str, size: int):
        self._filesystem = filesystem
        self._path = path
        self.name = url
        self.mode = "rb"
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        end = min(self._at + len(buffer), self._size)
        if self._at >= end:
            return 0
        content = retried(partial(self._range, self._at, end), self.name)
        memoryview(buffer)[: len(content)] = content
        self._at = end
        return len(content)

    def _range(self, start: int, end: int) -> bytes:
        content: bytes = self._filesystem.cat_file(self._path, start=start, end=end)
        if len(content) == self._size > end - start:
            whole = "its server gives whole files only, where a part was asked for: download it first"
            raise PermissionError(errno.EACCES, whole, self.name)  # asking again does not help
        if len(content) != end - start:
            raise OSError(errno.EIO, f"{len(content)} of {end - start} bytes came", self.name)
        return content
