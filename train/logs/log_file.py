"""A log of JSON lines that agrees with the checkpoint from which a run resumes, or warns where it does not."""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...tokenizer.files import write_whole
from .log_lines import CheckedLines, check_lines, some_of, step_of


class LogState(NamedTuple):
    """Size and checksum of a log, to detect changes."""

    size: int = 0
    """Bytes."""
    lines: int = 0
    checksum: int = 0
    """CRC-32 of the bytes."""

    @classmethod
    def of(cls, content: bytes) -> "LogState":
        """Return the state of a log with this content."""
        return cls(len(content), content.count(b"\n"), zlib.crc32(content))


class LogFile:
    """Appends lines; only one process may write."""

    def __init__(self, path: Path):
        self._path = path
        self._state = LogState()

    def restore(self, step: int, state: LogState, later: int) -> list[str]:
        """Restore the file to its `state` at `step`, and return warnings about what was lost or changed.

        Lines of later steps, up to `later`, are removed, because those steps run again. If there was anything else, a copy
        of the file as it was is kept beside it. Raises OSError.
        """
        content = self._path.read_bytes() if self._path.exists() else b""
        start, rest = content[: state.size], content[state.size :]
        fits = LogState.of(start) == state
        checked = check_lines(rest if fits else content, after=step if fits else 0, offset=state.lines if fits else 0)
        kept = start if fits else b"".join(line for line in checked.kept if step_of(line) <= step)
        lost = [step_of(line) for line in checked.kept if step_of(line) > later]
        warnings = []
        if not fits:
            warnings.append(f"{self._path} is not as it was at step {step}: {_difference(checked, kept, state)}")
        elif checked.damaged:
            warnings.append(f"{self._path} has damaged lines: {some_of(checked.damaged)}")
        elif lost:
            warnings.append(f"{self._path} goes on to step {max(lost)}, but there is no checkpoint of that part")
        if warnings and content:
            beside = _free_name(self._path)
            write_whole(beside, content)
            warnings = [f"{warning}; a copy is kept as {beside.name}, and the run continues." for warning in warnings]
        elif warnings:
            warnings = [f"{warning}; the run continues." for warning in warnings]
        if kept != content:
            write_whole(self._path, kept)
        self._state = LogState.of(kept)
        return warnings

    def append(self, line: Mapping[str, object]) -> None:
        """Append one line; raise OSError when the disk refuses."""
        content = (json.dumps(line) + "\n").encode()
        try:
            with open(self._path, "ab") as file:
                file.write(content)
        except OSError as error:
            error.filename = str(self._path)  # an error of writing has no file name
            raise
        size, lines, checksum = self._state
        self._state = LogState(size + len(content), lines + 1, zlib.crc32(content, checksum))

    def flush(self) -> LogState:
        """Flush all lines to the disk, and return the state of the file."""
        if self._state.size:
            descriptor = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return self._state


def _difference(checked: CheckedLines, kept: bytes, state: LogState) -> str:
    if checked.damaged:
        return some_of(checked.damaged)
    count = kept.count(b"\n")
    if count != state.lines:
        return f"it has {count} lines up to there, not {state.lines}"
    return "some of its lines have changed"


def _free_name(path: Path) -> Path:
    number = 1
    while (beside := path.with_name(f"{path.name}.kept-{number}")).exists():
        number += 1
    return beside
