"""A log of lines of JSON that outlives a kill: it fits the checkpoint that a run goes on from, or says where it does not."""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..tokenizer.files import write_whole

SHOWN = 3
"""Damaged lines that a warning names."""


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


class LogLines(NamedTuple):
    """The lines of a log that can be read."""

    lines: list[dict[str, Any]]
    problems: list[str]
    """Sentences with file and line about the others."""


class _Checked(NamedTuple):
    kept: list[bytes]
    damaged: list[str]
    """Number of each damaged line, and what is wrong."""


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
        checked = _check(rest if fits else content, after=step if fits else 0, offset=held.lines if fits else 0)
        kept = start if fits else b"".join(line for line in checked.kept if _step(line) <= step)
        lost = [_step(line) for line in checked.kept if _step(line) > later]
        warnings = []
        if not fits:
            warnings.append(f"{self._path} is not as it was at step {step}: {_difference(checked, kept, held)}")
        elif checked.damaged:
            warnings.append(f"{self._path} has damaged lines: {_some(checked.damaged)}")
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


def read_log(path: Path) -> LogLines:
    """Return the lines of a log, none when there is no file, and what is wrong with those that are left out."""
    checked = _check(path.read_bytes() if path.exists() else b"", after=0, offset=0)
    problems = [f"{path} has damaged lines, which are left out: {_some(checked.damaged)}."] if checked.damaged else []
    return LogLines([json.loads(line) for line in checked.kept], problems)


def _check(content: bytes, after: int, offset: int) -> _Checked:
    """Tell the good lines of a log from the damaged; a last line without an end is what a kill leaves, and neither."""
    *lines, _half = content.split(b"\n")
    kept, damaged, last = [], [], after
    for number, line in enumerate(lines, offset + 1):
        problem = _problem(line, last)
        if problem:
            damaged.append(f"line {number} {problem}")
        else:
            kept.append(line + b"\n")
            last = _step(line)
    return _Checked(kept, damaged)


def _problem(line: bytes, last: int) -> str:
    try:
        values = json.loads(line)
    except ValueError:
        return "is not JSON"
    if not isinstance(values, dict) or type(values.get("step")) is not int:
        return "is not a line of a log, for it has no step"
    if not all(isinstance(value, (int, float)) for name, value in values.items() if name != "alarms"):
        return "has a value that is not a number"
    alarms = values.get("alarms", [])
    if not (isinstance(alarms, list) and all(isinstance(alarm, str) for alarm in alarms)):
        return "has alarms that are not sentences"
    return f"goes back from step {last} to {values['step']}" if values["step"] < last else ""


def _step(line: bytes) -> int:
    step: int = json.loads(line)["step"]
    return step


def _difference(checked: _Checked, kept: bytes, held: Held) -> str:
    if checked.damaged:
        return _some(checked.damaged)
    count = kept.count(b"\n")
    if count != held.lines:
        return f"it has {count} lines up to there, not {held.lines}"
    return "lines of it have been changed"


def _some(damaged: list[str]) -> str:
    more = len(damaged) - SHOWN
    return ", ".join(damaged[:SHOWN]) + (f", and {more} more" if more > 0 else "")


def _free_name(path: Path) -> Path:
    number = 1
    while (beside := path.with_name(f"{path.name}.kept-{number}")).exists():
        number += 1
    return beside
