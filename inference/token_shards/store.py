"""Where the files of an output folder lie: in a folder of this machine, or behind a URL."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from ...cli.options import check_output_folder
from ...images.file_entry import open_regular
from ...tokenizer.files import remove_asides, whole_files
from ...tokenizer.folder_lock import hold_folder
from ...tokenizer.remote_files import local_path, protocol_of


class Store(Protocol):
    """The files of one output folder, by name; an instance is picklable. All that fails raises OSError."""

    def __str__(self) -> str:
        """Return the folder as users know it."""

    def path_of(self, name: str) -> str:
        """Return the path or URL of a file."""

    def check(self) -> None:
        """Raise ValueError unless the folder is one, or can become one, that can be written to."""

    def sizes(self) -> dict[str, int]:
        """Return the bytes of all files by name; none when there is no folder."""

    def times(self) -> dict[str, float]:
        """Return when files were written, in seconds since 1970, by name; without those that the store does not tell."""

    def others(self) -> set[str]:
        """Return the names that are taken by something else than a file: a folder, a fifo, a link to nowhere."""

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, or None when there is none."""

    def read(self, name: str) -> bytes:
        """Return the content of a file; raise FileNotFoundError when there is none."""

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of some small files by name, those that are missing left out."""

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; it is seekable."""

    def replace(self, names: Sequence[str]) -> AbstractContextManager[list[BinaryIO]]:
        """Yield files to write and read; at a clean exit they become the files `names`, in order, and are on the disk.

        The last of several describes the others: it is removed before they change, and written last. On an exception
        nothing changes.
        """

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""

    def remove_asides(self) -> None:
        """Remove what a command that was killed had begun to write."""

    def hold(self, who: str) -> AbstractContextManager[None]:
        """Keep other commands from writing here; raise FolderBusyError, which names the holder, when one does."""

    def check_held(self) -> None:
        """Raise WorkFailedError when another command has taken over what this process holds. Cheap."""


def open_store(out: str) -> Store:
    """Return the store of a folder by its path or URL; raise ValueError for a URL that nothing here can open."""
    if not protocol_of(out):
        return LocalStore(Path(local_path(out)))
    from .remote_store import RemoteStore  # late: fsspec is imported where a URL is given

    return RemoteStore(out)


def write_file(store: Store, name: str, content: bytes) -> None:
    """Write a file of a store, so that a stop at any moment leaves the old or the new."""
    with store.replace([name]) as (file,):
        file.write(content)


@dataclass(frozen=True)
class LocalStore:
    """A folder of this machine, or of a network file system that it has mounted."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    def path_of(self, name: str) -> str:
        return str(self.folder / name)

    def check(self) -> None:
        check_output_folder(self.folder)

    def sizes(self) -> dict[str, int]:
        found = {}
        for entry in self._entries():
            with suppress(FileNotFoundError):  # another process replaces it
                if entry.is_file():
                    found[entry.name] = entry.stat(follow_symlinks=False).st_size
        return found

    def times(self) -> dict[str, float]:
        found = {}
        for entry in self._entries():
            with suppress(FileNotFoundError):
                found[entry.name] = entry.stat(follow_symlinks=False).st_mtime
        return found

    def others(self) -> set[str]:
        return {entry.name for entry in self._entries() if not entry.is_file()}

    def size(self, name: str) -> int | None:
        path = self.folder / name
        with suppress(FileNotFoundError):
            return os.lstat(path).st_size if path.is_file() else None
        return None

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        contents = {}
        for name in names:
            with suppress(FileNotFoundError):
                contents[name] = self.read(name)
        return contents

    def open(self, name: str) -> BinaryIO:
        return open_regular(self.path_of(name))

    @contextmanager
    def replace(self, names: Sequence[str]) -> Iterator[list[BinaryIO]]:
        with whole_files([self.folder / name for name in names]) as files:
            yield files

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def remove_asides(self) -> None:
        remove_asides(self.folder)

    def hold(self, who: str) -> AbstractContextManager[None]:
        return hold_folder(self.folder, who)

    def check_held(self) -> None:
        """Do nothing: a lock ends with its process, and no other command takes it over."""

    def _entries(self) -> list[os.DirEntry[str]]:
        if not self.folder.is_dir():
            return []
        with os.scandir(self.folder) as entries:
            return list(entries)
