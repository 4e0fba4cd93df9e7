"""Report on standard error how far a download from the hub is."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

EVERY = 5.0
"""Seconds between two lines."""
MB = 1_000_000


def blobs_folder(repository: str) -> Path:
    """Return where the cache of the hub's client holds the contents of the files of a repository."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "blobs"


class HubProgress:
    """Bytes of a download: those of complete files, and those that the client of the hub has written aside."""

    def __init__(self, name: str, blobs: Path, total: int):
        self.name = name
        self.blobs = blobs
        self.total = total
        self.complete = 0
        self.before = self._begun()
        """Bytes of each file that a process that was killed has left, or another one is downloading."""

    def add(self, size: int) -> None:
        """Count a complete file."""
        self.complete += size

    def line(self) -> str:
        """Return how much there is."""
        begun = sum(max(0, size - self.before.get(path, 0)) for path, size in self._begun().items())
        return f"{self.name}: {min(self.complete + begun, self.total) // MB} of {_megabytes(self.total)}"

    def _begun(self) -> dict[Path, int]:
        sizes = {}
        for path in self.blobs.glob("*.incomplete"):
            with suppress(OSError):  # complete, or given up, since the folder was listed
                sizes[path] = path.stat().st_size
        return sizes


@contextmanager
def hub_progress(name: str, repository: str, total: int) -> Iterator[HubProgress]:
    """Say that a download begins, and every few seconds how far it is, unless the hub's client shows its own bars.

    `total` is the number of bytes to download; nothing is said if it is 0.
    """
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled

    progress, ended = HubProgress(name, blobs_folder(repository), total), threading.Event()

    def tell() -> None:
        while not ended.wait(EVERY):
            _say(progress.line())

    if total == 0:
        yield progress
        return
    _say(f"{name}: downloading {_megabytes(total)} from {repository}")
    if not are_progress_bars_disabled():
        yield progress
        return
    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        ended.set()
        thread.join()


def _megabytes(size: int) -> str:
    return f"{max(1, round(size / MB)):,} MB"


def say_that_copy_is_used(name: str, answer: str) -> None:
    """Say on standard error that the hub failed, and that the copy of a tokenizer on this machine is used."""
    _say(f"{name}: {answer}; the copy on this machine is used")


def _say(line: str) -> None:
    if sys.stderr is not None:
        print(line, file=sys.stderr, flush=True)
