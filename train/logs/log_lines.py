"""Lines of a log: which of them can be read, and what is wrong with the others."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from ...tokenizer.wording import list_first

SHOWN = 3
"""Damaged lines that a warning names."""


class LogLines(NamedTuple):
    """The lines of a log that can be read."""

    lines: list[dict[str, Any]]
    problems: list[str]
    """Sentences with file and line about the others."""


class CheckedLines(NamedTuple):
    """The lines of a log, good and damaged."""

    kept: list[bytes]
    damaged: list[str]
    """Number of each damaged line, and what is wrong."""


def read_log(path: Path) -> LogLines:
    """Return the lines of a log, none when there is no file, and what is wrong with those that are left out."""
    checked = check_lines(path.read_bytes() if path.exists() else b"", after=0, offset=0)
    problems = [f"{path} has damaged lines, which are left out: {some_of(checked.damaged)}."] if checked.damaged else []
    return LogLines([json.loads(line) for line in checked.kept], problems)


def check_lines(content: bytes, after: int, offset: int) -> CheckedLines:
    """Tell the good lines of a log from the damaged; a last line without an end is what a kill leaves, and neither."""
    *lines, _half = content.split(b"\n")
    kept, damaged, last = [], [], after
    for number, line in enumerate(lines, offset + 1):
        problem = _problem(line, last)
        if problem:
            damaged.append(f"line {number} {problem}")
        else:
            kept.append(line + b"\n")
            last = step_of(line)
    return CheckedLines(kept, damaged)


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


def step_of(line: bytes) -> int:
    """Return the step of a good line."""
    step: int = json.loads(line)["step"]
    return step


def some_of(damaged: list[str]) -> str:
    """Name the first of the damaged lines."""
    return list_first(damaged, SHOWN)
