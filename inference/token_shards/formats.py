"""The formats of token shards: the table SHARD_FORMATS, and the protocol of an entry; a file and a line add one."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from ...images.tars.blocks import DamagedShard
from .token_samples import StoredSample, TokenSample
from .webdataset_format import WebdatasetFormat


class ShardFormat(Protocol):
    """How the samples of a shard become one file; an instance is picklable."""

    @property
    def suffix(self) -> str:
        """Suffix of the files, such as `.tar`: one dot, at its beginning; no two formats share one."""

    def write(self, file: BinaryIO, samples: Iterable[TokenSample]) -> None:
        """Write samples into an empty, seekable file, left open; the bytes depend on the samples alone: no dates."""

    def read(self, path: Path) -> Iterator[StoredSample]:
        """Yield the samples in their order; raise DamagedShard or ValueError for a damaged file, and OSError."""

    def is_own(self, path: Path) -> bool | None:
        """Return whether vistok wrote a file; None when it is damaged or empty, so that nobody can tell."""


SHARD_FORMATS: dict[str, ShardFormat] = {"wds": WebdatasetFormat()}


def format_of(path: Path) -> ShardFormat | None:
    """Return the format of a file by its suffix, or None."""
    return next((entry for entry in SHARD_FORMATS.values() if entry.suffix == path.suffix), None)


def read_samples(path: Path, shard_format: ShardFormat) -> list[StoredSample]:
    """List the samples of a token shard; raise DamagedShard when it is damaged, OSError when it cannot be read."""
    try:
        return list(shard_format.read(path))
    except ValueError as error:
        raise DamagedShard(f"{path} {error}") from None
