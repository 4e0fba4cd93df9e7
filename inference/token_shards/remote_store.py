"""A folder behind a URL that fsspec opens: without renames and locks, on a store that fails now and then."""

import posixpath
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, BinaryIO, cast

from ...tokenizer.remote_files import FileSystem, open_filesystem, open_remote, protocol_of, read_remote, remote_size
from ...tokenizer.retries import retried
from .marker import MARKER_FILE, Ownership, Pace, hold_marker
from .remote_writing import commit_together, put_in_order, remove_file

THREADS = 32
"""Small files that are read at a time."""
WITHOUT_FOLDERS = ("abfs", "abfss", "az", "gcs", "gs", "hf", "oss", "s3", "s3a")
"""Protocols whose folders are nothing but the beginnings of names; others get a folder made."""
PACE = Pace()
HUB_PACE = Pace(beat=600.0, stale=1800.0, watches=False)
"""On the Hugging Face hub each sign is a commit, of which an hour has a limited number."""
VERSIONS = ("ETag", "etag", "md5Hash", "generation", "blob_id", "LastModified", "mtime", "created")
"""What listings say of the version of a file, by the protocol."""

WRITTEN = ("mtime", "LastModified", "last_modified", "updated", "created")
"""What listings say of when a file was written, by the protocol."""


@dataclass(frozen=True)
class RemoteStore:
    """The files of a folder by its URL. All that fails for a moment is tried again, as `retried` says."""

    url: str

    def __str__(self) -> str:
        return self.url

    def path_of(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{name}"

    def check(self) -> None:
        if protocol_of(self.url) in ("http", "https"):
            raise ValueError(f"--out is {self.url}, which can be read only: give a folder, or a URL such as s3://.")
        self._listing()

    def sizes(self) -> dict[str, int]:
        sizes = {name: row["size"] for name, row in self._listing().items() if row["type"] == "file"}
        untold = [name for name, size in sizes.items() if size is None]  # on a page of links
        if untold:
            with ThreadPoolExecutor(THREADS) as pool:
                sizes.update(zip(untold, pool.map(self.size, untold), strict=True))
        return {name: size for name, size in sizes.items() if size is not None}

    def times(self) -> dict[str, float]:
        told = {name: next(filter(None, map(row.get, WRITTEN)), None) for name, row in self._listing().items()}
        return {name: seconds for name, when in told.items() if (seconds := _seconds(when)) is not None}

    def others(self) -> set[str]:
        return {name for name, row in self._listing().items() if row["type"] != "file"}

    def size(self, name: str) -> int | None:
        filesystem, _ = self._opened
        try:
            size = remote_size(filesystem, self._path(name), self.path_of(name))
            return len(self.read(name)) if size is None else size  # a store that does not say is rare
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        return self._read_whole(name, None)

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        listing = self._listing()
        there = [name for name in names if name in listing]
        versions = {name: tuple(str(listing[name].get(key)) for key in ("size", *VERSIONS)) for name in there}
        known = {name: self._read[name][1] for name in there if self._read.get(name, ("",))[0] == versions[name]}
        missing = [name for name in there if name not in known]
        with ThreadPoolExecutor(THREADS) as pool:
            sizes = [listing[name]["size"] for name in missing]
            contents = dict(zip(missing, pool.map(self._read_if_there, missing, sizes), strict=True))
        self._read.update(
            (name, (versions[name], content)) for name, content in contents.items() if content is not None
        )
        found = known | {name: content for name, content in contents.items() if content is not None}
        return {name: found[name] for name in there if name in found}

    def open(self, name: str) -> BinaryIO:
        filesystem, _ = self._opened
        return open_remote(filesystem, self._path(name), self.path_of(name))

    @contextmanager
    def replace(self, names: Sequence[str]) -> Iterator[list[BinaryIO]]:
        filesystem, _ = self._opened
        put = commit_together if self._is_hub else put_in_order
        with _temporary_files(len(names)) as files:
            yield files
            for file in files:
                file.flush()
            self.check_held()
            paths = [self._path(name) for name in names]
            put(filesystem, dict(zip(paths, files, strict=True)), lambda path: self.path_of(posixpath.basename(path)))

    def remove(self, name: str) -> None:
        filesystem, _ = self._opened
        remove_file(filesystem, self._path(name), self.path_of(name))

    def remove_asides(self) -> None:
        """Do nothing: what is put is whole or not there."""

    @contextmanager
    def hold(self, who: str) -> Iterator[None]:
        filesystem, folder = self._opened
        with ExitStack() as stack:
            try:
                if protocol_of(self.url) not in WITHOUT_FOLDERS:
                    retried(lambda: filesystem.makedirs(folder, exist_ok=True), self.url)
                ownership = stack.enter_context(hold_marker(self, who, HUB_PACE if self._is_hub else PACE))
            except NotImplementedError:
                raise ValueError(
                    f"{self.url} can be read only, as fsspec has no writing for it: give a folder, or a URL such as s3://."
                ) from None
            self._ownerships.append(ownership)
            stack.callback(self._ownerships.remove, ownership)
            yield

    def check_held(self) -> None:
        for ownership in self._ownerships:
            ownership.check()

    def read_marker(self) -> bytes | None:
        try:
            return self.read(MARKER_FILE)
        except FileNotFoundError:
            return None

    def write_marker(self, content: bytes) -> None:
        filesystem, _ = self._opened
        retried(lambda: filesystem.pipe_file(self._path(MARKER_FILE), content), self.path_of(MARKER_FILE))

    def remove_marker(self) -> None:
        self.remove(MARKER_FILE)

    @cached_property
    def _opened(self) -> tuple[FileSystem, str]:
        filesystem, folder = open_filesystem(self.url)
        return filesystem, folder.rstrip("/")

    @cached_property
    def _read(self) -> dict[str, tuple[tuple[str, ...], bytes]]:
        """Small files that were read, with the version that the listing gave, so that a command reads each once."""
        return {}

    @cached_property
    def _ownerships(self) -> list[Ownership]:
        return []

    @property
    def _is_hub(self) -> bool:
        return protocol_of(self.url) == "hf" and "://buckets/" not in self.url

    def _path(self, name: str) -> str:
        return f"{self._opened[1]}/{name}"

    def _read_whole(self, name: str, size: int | None) -> bytes:
        filesystem, _ = self._opened
        return read_remote(filesystem, self._path(name), self.path_of(name), size)

    def _read_if_there(self, name: str, size: int) -> bytes | None:
        try:
            return self._read_whole(name, size)
        except FileNotFoundError:
            return None

    def _listing(self) -> dict[str, dict[str, Any]]:
        """Return what the store says of all files and folders, by name."""
        filesystem, folder = self._opened

        def listed() -> list[dict[str, Any]]:
            filesystem.invalidate_cache(folder)
            rows: list[dict[str, Any]] = filesystem.ls(folder, detail=True)
            return rows

        try:
            rows = retried(listed, self.url)
        except FileNotFoundError:
            return {}
        named = [(row["name"].rstrip("/").rpartition("/"), row) for row in rows]
        return {name: row for (parent, _, name), row in named if name and parent.strip("/") == folder.strip("/")}

    def __getstate__(self) -> dict[str, str]:
        """Leave out the connection, which another process opens anew."""
        return {"url": self.url}


@contextmanager
def _temporary_files(count: int) -> Iterator[list[BinaryIO]]:
    """Yield files without a name, which end with the process; raise OSError that names their folder when it is full."""
    try:
        with ExitStack() as opened:
            yield [cast(BinaryIO, opened.enter_context(tempfile.TemporaryFile())) for _ in range(count)]
    except OSError as error:
        error.filename = error.filename or tempfile.gettempdir()
        raise


def _seconds(when: object) -> float | None:
    """Return a time of a listing in seconds since 1970, or None for one that is of no known kind."""
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when.replace("Z", "+00:00"))
        except ValueError:
            return None
    if isinstance(when, datetime):
        return when.timestamp()
    return float(when) if isinstance(when, int | float) else None
