"""Lines of a log, and what is wrong with damaged ones."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from ...tokenizer.wording import list_first

MAX_NAMED = 3
"""Maximum number of damaged lines that a warning names."""


class LogLines(NamedTuple):
    """The good lines of a log."""

    lines: list[dict[str, Any]]
    problems: list[str]
    """A sentence about damaged lines, if there are any."""


class CheckedLines(NamedTuple):
    """The lines of a log, good and damaged."""

    kept: list[bytes]
    damaged: list[str]
    """Line number and what is wrong, for each damaged line."""


def read_log(path: Path) -> LogLines:
    """Return the good lines of a log, none if there is no file, and what is wrong with the others."""
    checked = check_lines(path.read_bytes() if path.exists() else b"", after=0, offset=0)
    problems = [f"{path} has damaged lines, which are left out: {some_of(checked.damaged)}."] if checked.damaged else []
    return LogLines([json.loads(line) for line in checked.kept], problems)


def check_lines(content: bytes, after: int, offset: int) -> CheckedLines:
    """Split a log into good and damaged lines; an incomplete last line, which a kill may leave, is neither."""
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
        return "is not a line of a log: it has no step"
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
    return list_first(damaged, MAX_NAMED)
