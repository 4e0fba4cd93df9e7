"""The formats of token shards: the table SHARD_FORMATS, and the protocol of an entry; a file and a line add one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import PurePath
from typing import BinaryIO, Protocol, runtime_checkable

from ...images.tars.blocks import DamagedShard
from .megatron_format import MegatronFormat
from .parquet_format import ParquetFormat
from .store import Store
from .token_samples import StoredSample, TokenSample
from .webdataset_format import WebdatasetFormat


class ShardFormat(Protocol):
    """How the samples of a shard become one file or several; an instance is picklable."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Suffixes of the files, such as `.tar`: one dot, at the beginning.

        The first names the shard; no two formats share it. Files are put in their places from the last to the first, so the
        last should say whose they are.
        """

    def require(self) -> None:
        """Raise ValueError, which says what to install, when a package that it needs is missing."""

    def write(self, files: Sequence[BinaryIO], samples: Iterable[TokenSample]) -> None:
        """Write samples into empty, seekable files, left open, in the order of the suffixes.

        The bytes depend on the samples alone: no dates. `TokenSample.metadata` is written whole. What it cannot hold raises
        ValueError.
        """

    def read(self, files: Sequence[BinaryIO]) -> Iterator[StoredSample]:
        """Yield the samples in their order; raise DamagedShard or ValueError for damaged files, and OSError.

        A sample can be read as long as the files are open, by one thread at a time. `file.name` is the name for messages.
        """

    def is_own(self, files: Sequence[BinaryIO | None]) -> bool | None:
        """Return whether vistok wrote the open files, None for one that is missing.

        Returns None when they are damaged or empty, so that nobody can tell.
        """


@runtime_checkable
class SeekableFormat(Protocol):
    """What a format also has when a sample can be read without those before it; others are read from the beginning."""

    def scan(self, files: Sequence[BinaryIO]) -> Iterator[tuple[str, int]]:
        """Yield the key of each sample and its place, a number from which `open_rows` finds it again.

        It reads as little as it can, and raises what `read` does.
        """

    def open_rows(self, files: Sequence[BinaryIO]) -> Callable[[int, int], StoredSample]:
        """Return a function that reads a sample by its index and its place, in any order; both raise what `read` does."""


SHARD_FORMATS: dict[str, ShardFormat] = {
    "wds": WebdatasetFormat(),
    "parquet": ParquetFormat(),
    "megatron": MegatronFormat(),
}


def format_of(name: str) -> ShardFormat | None:
    """Return the format of a shard by the name of its first file, or None."""
    return next((entry for entry in SHARD_FORMATS.values() if entry.suffixes[0] == PurePath(name).suffix), None)


def shard_files(shard: str, shard_format: ShardFormat) -> list[str]:
    """Return the names of all files of a shard, in the order of the suffixes; the first is `shard`, whatever its suffix."""
    return [shard, *(str(PurePath(shard).with_suffix(suffix)) for suffix in shard_format.suffixes[1:])]


def shard_of(name: str) -> str | None:
    """Return the name of the shard that a file belongs to, or None when no format has files of its suffix."""
    if format_of(name):
        return name
    path = PurePath(name)
    found = (entry for entry in SHARD_FORMATS.values() if path.suffix in entry.suffixes)
    return next((str(path.with_suffix(entry.suffixes[0])) for entry in found), None)


@contextmanager
def open_samples(store: Store, shard: str, shard_format: ShardFormat) -> Iterator[Iterator[StoredSample]]:
    """Yield the samples of a token shard, which can be read in the body.

    Iterating raises DamagedShard when it is damaged, and OSError when it cannot be read.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(store.open(name)) for name in shard_files(shard, shard_format)]
        yield _samples(files, store.path_of(shard), shard_format)


def _samples(files: list[BinaryIO], path: str, shard_format: ShardFormat) -> Iterator[StoredSample]:
    try:
        yield from shard_format.read(files)
    except ValueError as error:
        raise DamagedShard(f"{path} {error}") from None
