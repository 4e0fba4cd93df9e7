"""Runs a command; a call that it does not take is one sentence, as its other errors are."""

import re
import sys
from typing import Any

import typer

from .printing import say
from .user_errors import WRONG_CALL

USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]
"""The class of typer's errors about options and arguments, which typer itself does not export."""
HELP = "(--help lists what it takes)"
SHORTER = {
    r"Missing \w+ '(.+)'": r"\1 is missing",
    r"Invalid value for '(.+?)': (?:Value error, )?(.+)": r"\1: \2",
    r"Option '(.+?)' (.+)": r"\1 \2",
    r"Got (.+)": r"got \1",
}
"""Messages of typer, and ours."""

BY_PYDANTIC = r"Invalid value for '(.+?)': Input should be "
"""How newer versions of typer begin a message about a value that pydantic refuses, without the value."""


def run_app(app: typer.Typer, command: str) -> None:
    """Run a command with the arguments of the process, and exit with its code."""
    try:
        code = app(standalone_mode=False)
    except USAGE_ERROR as error:
        say(f"{command}: {describe_usage_error(error)}", aside=True)
        sys.exit(WRONG_CALL)
    sys.exit(code or 0)


def describe_usage_error(error: Exception) -> str:
    """Return one of typer's errors about options and arguments as a sentence, with the nearest option there is."""
    if hasattr(error, "possibilities"):
        unknown = f"there is no option {error.option_name}"  # type: ignore[attr-defined]
        return f"{unknown}: did you mean {error.possibilities[0]}?" if error.possibilities else f"{unknown} {HELP}."
    said = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
    if named := re.match(BY_PYDANTIC, said):
        said = _of_a_value(named[1], error.__cause__).rstrip(".")
    for theirs, ours in SHORTER.items():
        said = re.sub(f"^{theirs}$", ours, said)
    return f"{said} {HELP}."


def _of_a_value(option: str, cause: Any) -> str:
    from pydantic import BaseModel  # late, as are all packages that are not small

    from ..tokenizer.config.errors import first_error

    return str(first_error(BaseModel, None, cause.errors(), option))
