"""Whether the images of a run changed since its last call."""

import functools
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from ...images.file_entry import Entry
from ...tokenizer.wording import pluralize
from ..checkpoints.checked_file import load_checked, save_checked

IMAGES_FILE = "images.pt"


def record_images(path: Path, entries: Iterable[Entry]) -> list[str]:
    """Record the images in `path`, and return a warning if it held others.

    Contents are not read: an image counts as changed if its position in a shard, its size or its file's time has changed.
    """
    now, warnings = digests_of(entries), []
    try:
        before = load_checked(path)
    except ValueError:
        before = None
        warnings = [f"{path} was damaged, so changes to the images since the last call are unknown."]
    if before is not None:
        if np.array_equal(before, now):
            return []
        change = _change(before.numpy(), now)
        warnings = [
            f"the images are not those that the run began with: {change}. The run goes on with the current images."
        ]
    save_checked(path, torch.from_numpy(now))
    return warnings


def digests_of(entries: Iterable[Entry]) -> np.ndarray:
    """Return two hashes per image, int64 `n 2`: one of its name, one of its offset, size and file time."""
    return np.fromiter(_hashes(entries), dtype=np.int64).reshape(-1, 2)


def _hashes(entries: Iterable[Entry]) -> Iterator[int]:
    located = functools.lru_cache(maxsize=1 << 16)(_located)  # once per shard, whose images may come in any order
    for entry in entries:
        path, time = located(entry.path)
        yield _hash(f"{path}\0{entry.name if entry.name != entry.path else ''}")
        yield _hash(f"{entry.offset} {entry.size} {time}")


def _located(path: str) -> tuple[str, int]:
    """Return the absolute path of a file, and its time."""
    try:
        return os.path.abspath(path), os.stat(path).st_mtime_ns
    except OSError:
        return os.path.abspath(path), 0  # reading the image gives the reason


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=8).digest(), "little", signed=True)


def _change(before: np.ndarray, now: np.ndarray) -> str:
    (old, first), (new, second) = (np.unique(rows[:, 0], return_index=True) for rows in (before, now))
    _, among_old, among_new = np.intersect1d(old, new, assume_unique=True, return_indices=True)
    changed = before[first[among_old], 1] != now[second[among_new], 1]
    counts = {"more": len(new) - len(changed), "fewer": len(old) - len(changed), "changed": int(changed.sum())}
    said = [f"{pluralize(count, 'image')} {what}" for what, count in counts.items() if count]
    return ", ".join(said) or "they come in another order"
