"""The formats of packed shards: the table PACKED_FORMATS, and the protocol of an entry; a file and a line add one."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, Protocol

from ...images.tars.blocks import DamagedShard
from ..token_shards.store import Store
from .megatron_format import PackedMegatronFormat
from .npy_format import PackedNpyFormat
from .parquet_format import PackedParquetFormat
from .rows import PackedRow


class PackedFormat(Protocol):
    """How the rows of a shard become one file or several; an instance is picklable."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Suffixes of the files, such as `.loss.npy`; no two formats share one.

        Files are put in their places from the last to the first, so the last should say whose they are.
        """

    def require(self) -> None:
        """Raise ValueError, which says what to install, when a package that it needs is missing."""

    def write(self, files: Sequence[BinaryIO], rows: Iterable[PackedRow], dtype: str) -> None:
        """Write rows into empty, seekable files, left open, in the order of the suffixes; `dtype` is that of the ids.

        The bytes depend on the rows alone.
        """

    def read(self, files: Sequence[BinaryIO]) -> Iterator[PackedRow]:
        """Yield the rows in their order; raise ValueError, with a phrase, for damaged files, and OSError."""

    def is_own(self, files: Sequence[BinaryIO | None]) -> bool | None:
        """Return whether vistok wrote the open files, None for one that is missing.

        Returns None when they are damaged or empty, so that nobody can tell.
        """


PACKED_FORMATS: dict[str, PackedFormat] = {
    "megatron": PackedMegatronFormat(),
    "parquet": PackedParquetFormat(),
    "npy": PackedNpyFormat(),
}


def packed_files(name: str, packed_format: PackedFormat) -> list[str]:
    """Return the names of all files of a shard by its name without suffix, in the order of the suffixes."""
    return [f"{name}{suffix}" for suffix in packed_format.suffixes]


def packed_shard_of(file: str) -> tuple[str, PackedFormat] | None:
    """Return the shard that a file belongs to, and its format; None when no format has files of its suffix."""
    found = [
        (len(suffix), file.removesuffix(suffix), entry)
        for entry in PACKED_FORMATS.values()
        for suffix in entry.suffixes
        if file.endswith(suffix)
    ]
    if not found:
        return None
    _, name, entry = max(found, key=lambda each: each[0])  # .loss.bin, not .bin
    return name, entry


@contextmanager
def open_rows(store: Store, name: str, packed_format: PackedFormat) -> Iterator[Iterator[PackedRow]]:
    """Yield the rows of a packed shard; iterating raises DamagedShard when it is damaged, and OSError."""
    with ExitStack() as stack:
        files = [stack.enter_context(store.open(file)) for file in packed_files(name, packed_format)]
        yield _rows(files, store.path_of(name), packed_format)


def _rows(files: list[BinaryIO], path: str, packed_format: PackedFormat) -> Iterator[PackedRow]:
    try:
        yield from packed_format.read(files)
    except ValueError as error:
        raise DamagedShard(f"{path} {error}") from None
