"""Write a token shard of any format: to a temporary file beside it, then to its name, and the sidecar last.

A kill at any moment leaves the old shard with its sidecar, no sidecar, or the new shard with its sidecar.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...tokenizer.files import aside_of, flush_to_disk
from ..inputs.input_files import sha256_of
from .formats import ShardFormat
from .sidecar import Sidecar, sidecar_path, write_sidecar
from .token_samples import TokenSample


class WrittenShard(NamedTuple):
    """A whole shard that does not yet have its name."""

    aside: Path
    sha256: str
    size: int


def write_aside(path: Path, shard_format: ShardFormat, samples: Sequence[TokenSample]) -> WrittenShard:
    """Write the shard of a path to a temporary file beside it, flush it to the disk, and hash it.

    Raises OSError when the disk refuses, and UnreadableInputError when a companion cannot be read; nothing is left then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    try:
        with open(aside, "w+b") as file:
            shard_format.write(file, samples)
            flush_to_disk(file)
            file.seek(0)
            return WrittenShard(aside, sha256_of(file), aside.stat().st_size)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def seal_shard(folder: Path, sidecar: Sidecar, written: WrittenShard) -> None:
    """Rename a written shard, then write its sidecar; raise OSError when the disk refuses."""
    shard = folder / sidecar.shard
    sidecar_path(shard).unlink(missing_ok=True)  # an earlier one would describe another shard
    written.aside.replace(shard)
    write_sidecar(folder, sidecar)
