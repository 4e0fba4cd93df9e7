"""The formats of token shards: the table SHARD_FORMATS, and the protocol of an entry; a file and a line add one."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import BinaryIO, Protocol

from ...images.tars.blocks import DamagedShard
from .store import Store
from .token_samples import StoredSample, TokenSample
from .webdataset_format import WebdatasetFormat


class ShardFormat(Protocol):
    """How the samples of a shard become one file; an instance is picklable."""

    @property
    def suffix(self) -> str:
        """Suffix of the files, such as `.tar`: one dot, at its beginning; no two formats share one."""

    def write(self, file: BinaryIO, samples: Iterable[TokenSample]) -> None:
        """Write samples into an empty, seekable file, left open; the bytes depend on the samples alone: no dates."""

    def read(self, file: BinaryIO) -> Iterator[StoredSample]:
        """Yield the samples in their order; raise DamagedShard or ValueError for a damaged file, and OSError.

        A sample can be read as long as the file is open, by one thread at a time. `file.name` is the name for messages.
        """

    def is_own(self, file: BinaryIO) -> bool | None:
        """Return whether vistok wrote an open file; None when it is damaged or empty, so that nobody can tell."""


SHARD_FORMATS: dict[str, ShardFormat] = {"wds": WebdatasetFormat()}


def format_of(name: str) -> ShardFormat | None:
    """Return the format of a file by its suffix, or None."""
    return next((entry for entry in SHARD_FORMATS.values() if entry.suffix == PurePath(name).suffix), None)


@contextmanager
def open_samples(store: Store, shard: str, shard_format: ShardFormat) -> Iterator[Iterator[StoredSample]]:
    """Yield the samples of a token shard, which can be read in the body.

    Iterating raises DamagedShard when it is damaged, and OSError when it cannot be read.
    """
    with store.open(shard) as file:
        yield _samples(file, store.path_of(shard), shard_format)


def _samples(file: BinaryIO, path: str, shard_format: ShardFormat) -> Iterator[StoredSample]:
    try:
        yield from shard_format.read(file)
    except ValueError as error:
        raise DamagedShard(f"{path} {error}") from None
