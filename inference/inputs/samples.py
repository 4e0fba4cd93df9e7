"""What is tokenized: images with the files that belong to them, gathered into the tasks of one shard each."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple, Protocol

from ...images.file_entry import Readable
from ...images.remote_entry import HeldEntry
from .input_files import entry_sha256, open_hashed


@dataclass
class Companion:
    """A file that is carried over unchanged beside the tokens of its image, such as a caption."""

    extension: str
    """What follows the key and a dot in its name."""
    entry: Readable
    _sha256: str = field(default="", repr=False, compare=False)

    def open(self) -> BinaryIO:
        """Open the file, and keep its hash; raise UnreadableInputError when it cannot be read."""
        file, self._sha256 = open_hashed(self.entry)
        return file

    def sha256(self) -> str:
        """Return the SHA-256 of the file as it was opened; open it when nobody has."""
        return self._sha256 or entry_sha256(self.entry)


@dataclass(frozen=True)
class Sample:
    """An image to tokenize."""

    key: str
    source: str
    entry: Readable | None
    problem: str = ""
    """Why there is no entry."""
    companions: Sequence[Companion] = ()
    """Complete when all of the listing has been iterated: a caption may come long after its image."""

    @property
    def held(self) -> int:
        """Bytes of the image that are in memory already."""
        return self.entry.size if isinstance(self.entry, HeldEntry) else 0


@dataclass(frozen=True)
class Failure:
    """An image that could not be used."""

    key: str
    source: str
    reason: str


class Listing(NamedTuple):
    """The content of one shard's input, which is listed while its samples are iterated: once, and in order."""

    samples: Iterable[Sample]
    """Raises DamagedShard when the input is damaged, OSError when it cannot be read; at the latest at the end."""
    passed_over: Counter[str]
    """Files that are neither images nor carried over, by kind, such as `.txt` or `folder`; complete at the end."""
    fraction: Callable[[], float] = lambda: 1.0
    """Returns which fraction of the input has been listed so far, for estimates; above 0 once there is a sample."""


class ShardSource(Protocol):
    """Where the images of one output shard come from; plain data."""

    def list_samples(self) -> Listing:
        """Begin to list the images; raise DamagedShard and OSError as the samples do."""

    def digest(self) -> str:
        """Return the SHA-256 of the names, sizes and modification times of the input files as they are now."""


@dataclass(frozen=True)
class ShardTask:
    """One output shard to make: plain, picklable data."""

    name: str
    source: ShardSource
    inputs: str
    """Digest of the source when the task was planned."""


def kind_of(name: str) -> str:
    """Return the kind that a file is counted under when it is passed over: its ending in lower case."""
    return os.path.splitext(name)[1].lower() or "without ending"
