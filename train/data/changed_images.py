"""Whether the images of a run changed since its last call."""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ...images.file_entry import Entry
from ...tokenizer.files import write_whole
from ...tokenizer.wording import pluralize

IMAGES_FILE = "images.npy"


def record_images(path: Path, entries: Iterable[Entry]) -> list[str]:
    """Record the images in `path`, and return a warning if it held others.

    Contents are not read: an image counts as changed if its position in a shard, its size or its file's time has changed.
    """
    now = digests_of(entries)
    before = _read(path)
    if before is not None and np.array_equal(before, now):
        return []
    buffer = io.BytesIO()
    np.save(buffer, now, allow_pickle=False)
    existed = path.exists()
    write_whole(path, buffer.getvalue())
    if before is None:
        return [f"{path} was damaged, so changes to the images since the last call are unknown."] if existed else []
    return [
        f"the images are not those that the run began with: {_change(before, now)}. The run goes on with the current images."
    ]


def digests_of(entries: Iterable[Entry]) -> np.ndarray:
    """Return two hashes per image, uint64 `n 2`: one of its name, one of its offset, size and file time."""
    return np.fromiter(_hashes(entries), dtype=np.uint64).reshape(-1, 2)


def _hashes(entries: Iterable[Entry]) -> Iterator[int]:
    shards: dict[str, tuple[str, int]] = {}
    for entry in entries:
        # One stat per path: the images of a shard may come in any order, and a whole file comes only once.
        known = shards.get(entry.path) or (os.path.abspath(entry.path), _time_of(entry.path))
        if entry.offset:
            shards[entry.path] = known
        path, time = known
        yield _hash(f"{path}\0{entry.name if entry.name != entry.path else ''}")
        yield _hash(f"{entry.offset} {entry.size} {time}")


def _time_of(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0  # reading the image gives the reason


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=8).digest(), "little")


def _read(path: Path) -> np.ndarray | None:
    try:
        found = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError, SyntaxError, zipfile.BadZipFile):
        return None
    good = isinstance(found, np.ndarray) and found.dtype == np.uint64 and found.ndim == 2 and found.shape[1] == 2
    return found if good else None


def _change(before: np.ndarray, now: np.ndarray) -> str:
    (old, first), (new, second) = (np.unique(rows[:, 0], return_index=True) for rows in (before, now))
    _, among_old, among_new = np.intersect1d(old, new, assume_unique=True, return_indices=True)
    changed = before[first[among_old], 1] != now[second[among_new], 1]
    counts = {"more": len(new) - len(changed), "fewer": len(old) - len(changed), "changed": int(changed.sum())}
    said = [f"{pluralize(count, 'image')} {what}" for what, count in counts.items() if count]
    return ", ".join(said) or "they come in another order"
