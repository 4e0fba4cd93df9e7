"""A log of lines of JSON that outlives a kill: it fits the checkpoint that a run goes on from, or says where it does not."""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...tokenizer.files import write_whole
from .log_lines import CheckedLines, check_lines, some_of, step_of


class Held(NamedTuple):
    """What a log holds: enough to tell whether it still does."""

    size: int = 0
    """Bytes."""
    lines: int = 0
    checksum: int = 0
    """CRC-32 of the bytes."""

    @classmethod
    def of(cls, content: bytes) -> "Held":
        """Return what `content` amounts to."""
        return cls(len(content), content.count(b"\n"), zlib.crc32(content))


class LogFile:
    """Appends lines; every process may have one, but only one may write."""

    def __init__(self, path: Path):
        self._path = path
        self._held = Held()

    def take_up(self, step: int, held: Held, later: int) -> list[str]:
        """Bring the file to what it held at `step`, and return warnings about what it had lost by then.

        Whole lines of the steps after that go, for they will be logged again: they may reach to step `later`. Where there
        is anything else, the file as it was is kept beside it. Raises OSError when it cannot be read or written.
        """
        content = self._path.read_bytes() if self._path.exists() else b""
        start, rest = content[: held.size], content[held.size :]
        fits = Held.of(start) == held
        checked = check_lines(rest if fits else content, after=step if fits else 0, offset=held.lines if fits else 0)
        kept = start if fits else b"".join(line for line in checked.kept if step_of(line) <= step)
        lost = [step_of(line) for line in checked.kept if step_of(line) > later]
        warnings = []
        if not fits:
            warnings.append(f"{self._path} is not as it was at step {step}: {_difference(checked, kept, held)}")
        elif checked.damaged:
            warnings.append(f"{self._path} has damaged lines: {some_of(checked.damaged)}")
        elif lost:
            warnings.append(f"{self._path} goes on to step {max(lost)}, but no checkpoint of that part is left")
        if warnings and content:
            beside = _free_name(self._path)
            write_whole(beside, content)
            warnings = [f"{warning}; it is kept as {beside.name}, and the run goes on." for warning in warnings]
        elif warnings:
            warnings = [f"{warning}; the run goes on." for warning in warnings]
        if kept != content:
            write_whole(self._path, kept)
        self._held = Held.of(kept)
        return warnings

    def append(self, line: Mapping[str, object]) -> None:
        """Append one line; raise OSError when the disk refuses."""
        content = (json.dumps(line) + "\n").encode()
        try:
            with open(self._path, "ab") as file:
                file.write(content)
        except OSError as error:
            error.filename = str(self._path)  # an error of writing does not say where
            raise
        size, lines, checksum = self._held
        self._held = Held(size + len(content), lines + 1, zlib.crc32(content, checksum))

    def flush(self) -> Held:
        """Bring all lines to the disk, and return what the file holds."""
        if self._held.size:
            descriptor = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return self._held


def _difference(checked: CheckedLines, kept: bytes, held: Held) -> str:
    if checked.damaged:
        return some_of(checked.damaged)
    count = kept.count(b"\n")
    if count != held.lines:
        return f"it has {count} lines up to there, not {held.lines}"
    return "lines of it have been changed"


def _free_name(path: Path) -> Path:
    number = 1
    while (beside := path.with_name(f"{path.name}.kept-{number}")).exists():
        number += 1
    return beside
