"""A log of JSON lines that agrees with the checkpoint from which a run resumes, or warns where it does not."""

import itertools
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...tokenizer.files import write_whole
from ...tokenizer.system import flush_path
from ...tokenizer.wording import list_first

MAX_NAMED = 3
"""Maximum number of damaged lines that a warning names."""


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


class LogLines(NamedTuple):
    """The good lines of a log."""

    lines: list[dict[str, Any]]
    problems: list[str]
    """A sentence about damaged lines, if there are any."""


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
        if LogState.of(start) == state:
            kept = start
            found, damaged = _check_lines(rest, step, state.lines)
            last = found[-1][1]["step"] if found else 0
            beyond = f"goes on to step {last}, but there is no checkpoint of that part" if last > later else ""
            problem = f"has damaged lines: {damaged}" if damaged else beyond
        else:
            found, damaged = _check_lines(content)
            kept = b"".join(line for line, values in found if values["step"] <= step)
            count = kept.count(b"\n")
            counted = f"it has {count} lines up to there, not {state.lines}" if count != state.lines else ""
            problem = f"is not as it was at step {step}: {damaged or counted or 'some of its lines have changed'}"
        copied = f"a copy is kept as {self._keep_copy(content)}, and " if problem and content else ""
        if kept != content:
            write_whole(self._path, kept)
        self._state = LogState.of(kept)
        return [f"{self._path} {problem}; {copied}the run continues."] if problem else []

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
            flush_path(self._path)
        return self._state

    def _keep_copy(self, content: bytes) -> str:
        names = (self._path.with_name(f"{self._path.name}.kept-{number}") for number in itertools.count(1))
        beside = next(path for path in names if not path.exists())
        write_whole(beside, content)
        return beside.name


def read_log(path: Path) -> LogLines:
    """Return the good lines of a log, none if there is no file, and what is wrong with the others."""
    found, damaged = _check_lines(path.read_bytes() if path.exists() else b"")
    problems = [f"{path} has damaged lines, which are left out: {damaged}."] if damaged else []
    return LogLines([values for _, values in found], problems)


def _check_lines(content: bytes, after: int = 0, offset: int = 0) -> tuple[list[tuple[bytes, dict[str, Any]]], str]:
    """Return the good lines of a log, each with its values, and name the damaged ones.

    An incomplete last line, which a kill may leave, is neither. `after` is the step before the first line, and `offset` the
    number of lines before it.
    """
    *lines, _half = content.split(b"\n")
    good: list[tuple[bytes, dict[str, Any]]] = []
    damaged = []
    for number, line in enumerate(lines, offset + 1):
        values, problem = _parse(line, good[-1][1]["step"] if good else after)
        if problem:
            damaged.append(f"line {number} {problem}")
        else:
            good.append((line + b"\n", values))
    return good, list_first(damaged, MAX_NAMED)


def _parse(line: bytes, last: int) -> tuple[dict[str, Any], str]:
    """Return the values of a line, and what is wrong with it after a line of step `last`."""
    try:
        values = json.loads(line)
    except ValueError:
        return {}, "is not JSON"
    if not isinstance(values, dict) or type(values.get("step")) is not int:
        return {}, "is not a line of a log: it has no step"
    alarms = values.get("alarms", [])
    if not all(isinstance(value, (int, float)) for name, value in values.items() if name != "alarms"):
        return {}, "has a value that is not a number"
    if not (isinstance(alarms, list) and all(isinstance(alarm, str) for alarm in alarms)):
        return {}, "has alarms that are not sentences"
    return values, f"goes back from step {last} to {values['step']}" if values["step"] < last else ""
